"""How often the hub's own chain makes a block: for each transaction at once, or now and then for many.

anvil makes a block of every transaction as it comes, which answers a small swarm soonest. A thousand nodes that report
in the same second would have it make thousands of blocks, at three times the processor time each, and its state grow by
a megabyte a round. So while many transactions come in, it makes a block each half a second or so, and who sends one is
answered after its block: its first look for the receipt then finds it, where it would have looked four times. It may
come with the transaction, in one batch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rgym_exp.hub.rpc_proxy import SEND, Forward

log = logging.getLogger("rl_swarm.hub.block_pace")

MANY_PER_SECOND = 10
"""The chain keeps the transactions of its last 64 blocks alone: with a block for each they last six seconds so."""
BLOCK_SECONDS = 0.5
LONGEST_BLOCK_SECONDS = 2.0
_REST = 9.0
"""So many times as long as a block takes the chain until the next. It reckons all that contracts keep anew for each."""
CALM_SECONDS = 5.0
"""After so long with few transactions, each has a block of its own again."""


class BlockPace:
    """Stands before the way to the chain and counts what is sent. ``run`` beside it makes the blocks."""

    def __init__(self, forward: Forward, orders: Forward, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``forward``: for strangers' calls; ``orders``: the chain's own ear, for ours."""
        self._forward = forward
        self._orders = orders
        self._clock = clock
        self._second_began = clock()
        self._sent = 0
        """Transactions since then."""
        self._many = asyncio.Event()
        self._last_many = 0.0
        self._block: asyncio.Event | None = None
        """Set with the next block, while blocks are made for many."""
        self._seconds = BLOCK_SECONDS
        """Between two of those."""

    async def forward(self, calls: list[dict[str, Any]]) -> Any:
        """See ``Forward``. What is asked after a transaction, in one batch with it, is asked after its block."""
        sent = [place for place, call in enumerate(calls) if call.get("method") == SEND]
        if not sent:
            return await self._forward(calls)
        self._count(len(sent))
        answer = await self._forward(calls[: sent[-1] + 1])
        if self._block is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * self._seconds):
                    await self._block.wait()
        afterwards = calls[sent[-1] + 1 :]
        if not afterwards or not isinstance(answer, list):
            return answer
        try:
            more = await self._forward(afterwards)
        except (OSError, TimeoutError, ValueError) as error:
            log.debug("The chain has the transaction, and doesn't say more: %s", error)
            return answer
        return [*answer, *more] if isinstance(more, list) else answer

    async def run(self) -> None:
        """Make blocks while many transactions come in, until cancelled. A chain that is away is tried again."""
        while True:
            await self._many.wait()
            try:
                await self._make_blocks()
            except (OSError, TimeoutError, ValueError) as error:
                log.debug("The chain can't be told to make a block: %s", error)
            finally:
                usual = await self._back_to_usual()
            # Only a chain that was told may be left to itself: it makes no block of its own before.
            if usual and self._is_calm():
                self._many.clear()
            else:
                await asyncio.sleep(BLOCK_SECONDS)

    async def _make_blocks(self) -> None:
        """One after the other until it is calm."""
        while not self._is_calm():
            # Said each time: a chain that was started anew makes its blocks by itself.
            made, self._block = self._block, asyncio.Event()
            began = self._clock()
            await self._tell(("evm_setAutomine", [False]), ("evm_mine", []))
            self._seconds = max(BLOCK_SECONDS, min(LONGEST_BLOCK_SECONDS, _REST * (self._clock() - began)))
            if made is not None:
                made.set()
            await asyncio.sleep(self._seconds)

    def _is_calm(self) -> bool:
        return self._clock() - self._last_many >= CALM_SECONDS

    async def _back_to_usual(self) -> bool:
        """Have the chain make a block of each transaction; False when it can't be told."""
        try:
            made, self._block = self._block, None
            await self._tell(("evm_setAutomine", [True]), ("evm_mine", []))
            if made is not None:
                made.set()
        except (OSError, TimeoutError, ValueError) as error:
            log.debug("The chain can't be told to make its own blocks: %s", error)
            return False
        return True

    async def _tell(self, *orders: tuple[str, list[Any]]) -> None:
        calls = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(orders)
        ]
        for call in calls:  # One after the other: a batch's calls may be carried out in any order.
            await self._orders([call])

    def _count(self, sent: int) -> None:
        now = self._clock()
        if now - self._second_began >= 1.0:
            self._second_began, self._sent = now, 0
        self._sent += sent
        if sent and self._sent >= MANY_PER_SECOND:
            self._last_many = now
            self._many.set()

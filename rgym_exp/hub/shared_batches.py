"""Calls of many clients on their way to the chain, in batches that they share.

A request to the chain costs the hub and the chain about as much for one call as for ten. So while batches are under way
calls gather, and leave together with the next one; a call that comes alone leaves at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from rgym_exp.hub.rpc_proxy import ESTIMATE, Forward

UNDER_WAY = 2
"""Batches at the chain at once."""
LARGEST = 64
"""Calls in one; a client's own batch isn't cut in two."""
ALONE_AT_ONCE = 8
"""Requests at the chain at once that may take long. More would run into its time-out together, and none be answered:
they wait here, where nothing counts the time."""
_ALONE = frozenset({"eth_call", "eth_getLogs", ESTIMATE})
"""May take long: others' calls are not to wait for them."""

_Calls = list[dict[str, Any]]
_Asked = tuple[_Calls, "asyncio.Future[_Calls]"]
"""A client's calls, and where it waits for the answers."""


class SharedBatches:
    """Stands before the way to the chain."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._alone = asyncio.Semaphore(ALONE_AT_ONCE)
        self._waiting: deque[_Asked] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def forward(self, calls: _Calls) -> Any:
        """See ``Forward``."""
        if any(call.get("method") in _ALONE for call in calls):
            async with self._alone:
                return await self._forward(calls)
        answered: asyncio.Future[_Calls] = asyncio.get_running_loop().create_future()
        self._waiting.append((calls, answered))
        if len(self._under_way) < UNDER_WAY:
            task = asyncio.create_task(self._send_waiting(), name="calls to the chain")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return await answered

    async def _send_waiting(self) -> None:
        """One batch after the other, as long as calls wait."""
        while self._waiting:
            taken: list[_Asked] = []
            size = 0
            while self._waiting and (not taken or size + len(self._waiting[0][0]) <= LARGEST):
                taken.append(self._waiting.popleft())
                size += len(taken[-1][0])
            await self._send(taken)

    async def _send(self, taken: list[_Asked]) -> None:
        """Ask for these and tell each what came of it; raises nothing but what ends the task."""
        try:
            await self._answer(taken)
        except BaseException as error:  # Whoever asked is told, each of them.
            for _, answered in taken:
                if not answered.done():
                    answered.set_exception(error if isinstance(error, Exception) else OSError("the hub stops"))
            if not isinstance(error, Exception):
                raise

    async def _answer(self, taken: list[_Asked]) -> None:
        """Ask together, and each client's calls alone when the chain refuses the whole: one of them may have spoilt it.

        A chain that is away (OSError, TimeoutError) isn't asked again."""
        replies: Any = None
        try:
            replies = await self._forward(_renumbered(taken))
        except (ValueError, RecursionError):
            if len(taken) == 1:
                raise
        if isinstance(replies, list) or len(taken) == 1:
            _give(taken, replies if isinstance(replies, list) else [])
        else:
            await asyncio.gather(*(self._send([asked]) for asked in taken if not asked[1].done()))


def _renumbered(taken: list[_Asked]) -> _Calls:
    """The calls of all with their places as ids."""
    together = [call for calls, _ in taken for call in calls]
    return [{**call, "id": place} for place, call in enumerate(together)]


def _give(taken: list[_Asked], replies: list[Any]) -> None:
    """Give each client its replies, under the ids of its own calls."""
    by_place = {reply["id"]: reply for reply in replies if isinstance(reply, dict) and isinstance(reply.get("id"), int)}
    place = 0
    for calls, answered in taken:
        own = [
            {**by_place[place + offset], "id": call["id"]}
            for offset, call in enumerate(calls)
            if place + offset in by_place
        ]
        place += len(calls)
        if not answered.done():
            answered.set_result(own)

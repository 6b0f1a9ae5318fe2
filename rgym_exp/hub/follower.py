"""Following the contract: reads its events block by block into the ledger, in the background.

What a chain may do meanwhile, and what is done about it:

- a devnet is renewed (``rgym_exp.chain.saved_state``): block numbers go on, the last 64 blocks keep their hashes, older
  ones and their events are gone (so is the old genesis block, so it identifies nothing). A cursor that was cut away,
  or is as far back, may mean lost events: everybody's totals are asked of the contract.
- a devnet was killed: the chain goes back a few seconds and makes other blocks with the same numbers. What the lost
  blocks had added is taken back.
- a public chain is reorganised: only blocks with CONFIRMATIONS others upon them are read.
- another chain is found under the same address: the ledger begins anew.
- the chain is away: waited out, and said once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from web3.exceptions import BlockNotFound
from web3.types import FilterParams

from rgym_exp.base.outage import Outage
from rgym_exp.chain.contract import Reverted, RpcRefusal, SwarmContract
from rgym_exp.chain.coordinator import ChainError, ChainUnavailable
from rgym_exp.chain.saved_state import BLOCKS_KEPT
from rgym_exp.errors import HubError
from rgym_exp.hub.contract_events import read_events, reward_topic, winner_topic
from rgym_exp.hub.ledger import Block, Ledger

log = logging.getLogger("rl_swarm.hub.follower")

CONFIRMATIONS = 12
"""On a chain that isn't ours. Deeper reorganisations are noticed too, and taken back as far as the journal goes."""
LOOK_SECONDS = 2.0
OTHER_CHAIN_LOOK_SECONDS = 10.0
"""Between looks at a chain that isn't ours: a look costs two or three requests, and others pay for that."""
LONGEST_PAUSE_SECONDS = 60.0
BLOCKS_AT_ONCE = 1000
"""Of one request for events. After a failure a quarter of it, then twice as many every time: servers' limits differ."""
FIRST_LOOK_BACK = 50_000
"""A new ledger begins at most so many blocks back. Rounds played earlier aren't counted; totals are."""
SETTLED_AT_ONCE = 50


class Follower:
    """Keeps one ledger up with one contract."""

    def __init__(
        self, contract: SwarmContract, ledger: Ledger, *, own_chain: bool, rest_seconds: float | None = None
    ) -> None:
        """
        Args:
            own_chain: the chain is the hub's devnet, which nobody reorganises and which may go back.
            rest_seconds: between two looks; None for LOOK_SECONDS or OTHER_CHAIN_LOOK_SECONDS.
        """
        # A devnet's renewal costs one look, which is nobody's concern.
        self.outage = Outage(
            log,
            failing="The leaderboard stands still and keeps trying: %s",
            works="The leaderboard is up to date again.",
            quiet=1,
        )
        """Whether and why the ledger can't be kept up just now."""
        self.dropped: Counter[str] = Counter()
        """Events left out, by reason."""
        self._contract = contract
        self._ledger = ledger
        self._own_chain = own_chain
        self._confirmations = 0 if own_chain else CONFIRMATIONS
        self._rest_seconds = rest_seconds or (LOOK_SECONDS if own_chain else OTHER_CHAIN_LOOK_SECONDS)
        self._span = BLOCKS_AT_ONCE
        self._can_settle = True
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        pause = self._rest_seconds
        try:
            while True:
                try:
                    await asyncio.to_thread(self.look)
                except (ChainError, HubError) as error:
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                    self.outage.fails(error)
                else:
                    pause = self._rest_seconds
                    self.outage.works()
                await asyncio.sleep(pause)
        finally:
            self._stopped.set()

    def look(self) -> None:
        """Read everything up to the newest block that counts, then settle a few unsettled peers. Blocking.

        Raises ChainUnavailable (what was read until then is kept), ChainError for a wrong chain, HubError for the file.
        """
        self._contract.chain_id  # noqa: B018  (raises when this is another chain)
        newest = self._newest()
        last = newest - self._confirmations
        first = self._first_unread(newest)
        while first <= last and not self._stopped.is_set():
            end = min(last, first + self._span - 1)
            # The hash before the events: should the chain go back in between, the next look finds them at odds.
            upto = Block(number=end, hash=self._hash_of(end) or "")
            logs = self._logs(first, end)
            self._unsettle_if_behind(first)
            self._ledger.record(read_events(self._contract.web3, logs, self.dropped), upto=upto)
            first = end + 1
        self._settle()

    def _unsettle_if_behind(self, first: int) -> None:
        """Events were read from block ``first`` on: those that the hub's own chain had cut off by then were missing."""
        if not self._own_chain:
            return
        behind = self._newest() - first
        if behind >= BLOCKS_KEPT:
            log.info("The leaderboard was %d blocks behind; asking the contract for everybody's totals.", behind)
            self._ledger.unsettle()

    def _newest(self) -> int:
        return int(self._contract.ask(lambda: self._contract.web3.eth.block_number))

    def _first_unread(self, newest: int) -> int:
        """Where to go on reading; goes back in the ledger where the chain has."""
        cursor = self._ledger.cursor()
        if cursor is None:
            return max(0, newest - self._confirmations - FIRST_LOOK_BACK)
        found = self._hash_of(cursor.number) if cursor.number <= newest else None
        if found is not None and cursor.hash in (found, ""):
            return cursor.number + 1
        if found is None and cursor.number <= newest:
            log.info("The chain has cut off block %d; asking the contract for everybody's totals.", cursor.number)
            self._ledger.unsettle()
            return cursor.number + 1
        if found is None and not self._own_chain:
            raise ChainUnavailable(
                f"{self._contract.rpc_url} is at block {newest} and behind what it said before (block "
                f"{cursor.number}); waiting until it catches up."
            )
        return self._parting(cursor, newest)

    def _parting(self, cursor: Block, newest: int) -> int:
        """Take back what came after the newest block that ledger and chain still share; returns the one after it."""
        another_chain = False
        for block in self._ledger.blocks():
            found = self._hash_of(block.number) if block.number <= newest else None
            if found == block.hash:
                log.warning("The chain went back from block %d to %d; so does the ledger.", cursor.number, block.number)
                self._ledger.go_back_to(block)
                return block.number + 1
            another_chain |= found is not None
        if another_chain:
            log.warning(
                "The contract %s is on another chain than before; its ledger begins anew.", self._contract.address
            )
            self._ledger.start_anew()
            return max(0, newest - self._confirmations - FIRST_LOOK_BACK)
        # Nothing to compare with: what was counted is kept, and the totals come from the contract.
        log.warning("The chain went back from block %d, further than the ledger remembers.", cursor.number)
        self._ledger.go_back_to(Block(number=newest, hash=self._hash_of(newest) or ""))
        self._ledger.unsettle()
        return newest + 1

    def _hash_of(self, number: int) -> str | None:
        """The hash of the chain's block; None when it has none with this number (yet, or any more)."""

        def ask() -> str | None:
            try:
                found = self._contract.web3.eth.get_block(number).get("hash")
            except BlockNotFound:
                return None
            return None if found is None else "0x" + bytes(found).hex()

        return self._contract.ask(ask)

    def _logs(self, first: int, last: int) -> list[Mapping[str, Any]]:
        wanted: FilterParams = {
            "address": self._contract.address,
            "fromBlock": first,
            "toBlock": last,
            "topics": [[reward_topic(), winner_topic()]],
        }
        try:
            found = self._contract.ask(lambda: list(self._contract.web3.eth.get_logs(wanted)))
        except ChainUnavailable:
            self._span = max(1, self._span // 4)
            raise
        self._span = min(BLOCKS_AT_ONCE, 2 * self._span)
        return [dict(entry) for entry in found]

    def _settle(self) -> None:
        """Take the contract's totals for some of the unsettled peers, as of the ledger's own block.

        Nodes keep few past states, so this may be refused when the chain moves fast; then the next look tries again.
        """
        peers = self._ledger.unsettled(SETTLED_AT_ONCE)
        cursor = self._ledger.cursor()
        if not peers or cursor is None or not self._can_settle:
            return
        wins_of = [("getTotalWins", (peer,)) for peer in peers]
        try:
            rewards, *wins = self._contract.views_at(cursor.number, ("getTotalRewards", (peers,)), *wins_of)
            totals = {peer: (int(reward), int(won)) for peer, reward, won in zip(peers, rewards, wins, strict=True)}
        except RpcRefusal as refusal:
            log.debug("Not settled: %s", refusal)
        except Reverted as refusal:
            self._can_settle = False
            log.warning(
                "The contract doesn't tell totals (%s); the leaderboard goes by its events alone.", refusal.name
            )
        else:
            self._ledger.settle(totals)

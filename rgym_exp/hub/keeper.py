"""The keeper: moves the swarm to the next round when everybody who counts is done, or has had time enough.

Rounds on the contract move only when the stage manager says so; the hub holds that role.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from rgym_exp.base.outage import Outage
from rgym_exp.errors import SwarmUserError
from rgym_exp.hub.peer_activity import ACTIVE_ROUNDS, PeerActivity
from rgym_exp.types import Announcement

log = logging.getLogger("rl_swarm.hub.keeper")

RECHECK_SECONDS = 5.0
"""How often the contract is asked for its round although nobody but this keeper should move it."""
LONGEST_PAUSE_SECONDS = 30.0
"""Upper bound of the back-off while the chain or the DHT can't be reached."""
_AWAY = (SwarmUserError, OSError, TimeoutError)
"""What that looks like."""


@dataclass(frozen=True, kw_only=True)
class RoundLimits:
    """How long a round may and must last, in seconds."""

    longest: float = 120.0
    """With at least one announcement, a round ends after this long whoever is missing."""
    shortest: float = 1.0
    """No round is shorter than this, so that a swarm of one tiny model doesn't race through block numbers."""


class ContractClient(Protocol):
    """The contract as its stage manager sees it. Blocking; called in a worker thread."""

    def round_and_stage(self) -> tuple[int, int]:
        """The contract's round and stage; raises a SwarmUserError when the chain is away."""
        ...

    def advance_round(self) -> object:
        """Move the contract one stage on (one stage is one round); raises a SwarmUserError when that failed."""
        ...


class RecordSource(Protocol):
    """Where announcements are read: ``DhtRecords``, or a list in tests."""

    async def read(self, round: int, enough: int | None = None) -> list[Announcement]:
        """The verified announcements of one round."""
        ...

    def set_round(self, round_number: int) -> None:
        """Told of each new round, so that records from nowhere near it can be refused."""
        ...


def should_advance(
    *,
    now: float,
    round_started: float,
    active: Mapping[str, int],
    announced: Collection[str],
    limits: RoundLimits,
) -> bool:
    """Whether the round is over.

    ``active`` maps each active peer to how many rounds running it has missed. A peer that missed none is waited for
    until the limit; each miss halves that time, so that one that left without a word costs the swarm less than
    two limits in all, while one that was only late for once is still waited for. With no announcement at all the
    round never ends: an empty swarm stands still.
    """
    elapsed = now - round_started
    if not announced or elapsed < limits.shortest:
        return False
    return all(elapsed >= limits.longest / 2**missed for peer, missed in active.items() if peer not in announced)


class Keeper:
    """Looks at the DHT, decides, and advances the contract; what it knows is read by ``/status``."""

    def __init__(
        self,
        *,
        client: ContractClient,
        records: RecordSource,
        limits: RoundLimits,
        poll_seconds: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.activity = PeerActivity()
        self.round = -1
        """The contract's round; -1 until the chain has answered."""
        self.stage = 0
        self.moved = asyncio.Event()
        """Set when round or stage change; another event takes its place then."""
        self.round_started = clock()
        self.outage = Outage(
            log,
            failing="The keeper can't advance rounds just now and keeps trying: %s",
            works="The keeper works again.",
        )
        self._client = client
        self._records = records
        self._limits = limits
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._asked = float("-inf")

    async def learn_round(self) -> None:
        """Learn the round before anybody asks for it. What can't be reached now is waited out in ``run``."""
        try:
            await self._ask_round()
        except _AWAY as error:
            self._troubled(error)

    async def run(self) -> None:
        """Keep rounds until cancelled. An unreachable chain or DHT is waited out, with growing pauses."""
        pause = self._poll_seconds
        while True:
            began = time.monotonic()
            try:
                await self.look()
            except _AWAY as error:
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                self._troubled(error)
            else:
                # In a large swarm a look at every shard takes long; most of the hub's time stays for others.
                pause = max(self._poll_seconds, 3 * (time.monotonic() - began))
                self.outage.works()
            await asyncio.sleep(pause)

    async def look(self) -> bool:
        """One turn: read, decide, perhaps advance. Returns whether the round was advanced.

        Raises a SwarmUserError (or OSError, TimeoutError) when the chain or the DHT can't be reached.
        """
        if self._clock() - self._asked >= RECHECK_SECONDS:
            await self._ask_round()
        self.activity.record(await self._records.read(self.round))
        over = should_advance(
            now=self._clock(),
            round_started=self.round_started,
            active=self.activity.missed(self.round),
            announced=self.activity.announced(self.round),
            limits=self._limits,
        )
        if over:
            await self._advance()
        return over

    async def _advance(self) -> None:
        """Advance once. The round is asked for first: after a lost answer it may have moved already."""
        expected = self.round
        await self._ask_round()
        if self.round != expected:
            return
        done = len(self.activity.announced(expected))
        seconds = self._clock() - self.round_started
        await asyncio.to_thread(self._client.advance_round)
        await self._ask_round()
        log.info("round %d ended after %.1f s with %d peers; round %d begins", expected, seconds, done, self.round)

    async def _ask_round(self) -> None:
        """Learn the contract's round; a new one starts the clock and, the first time, looks back for active peers."""
        round, stage = await asyncio.to_thread(self._client.round_and_stage)
        self._asked = self._clock()
        if round != self.round:
            self._records.set_round(round)
            if self.round < 0:
                for earlier in range(max(0, round - ACTIVE_ROUNDS), round):
                    self.activity.record(await self._records.read(earlier))
            self.round_started = self._clock()
            self.activity.forget_before(round)
        if (round, stage) != (self.round, self.stage):
            self.round, self.stage = round, stage
            moved, self.moved = self.moved, asyncio.Event()
            moved.set()

    def _troubled(self, error: Exception) -> None:
        """Whatever was known of the round is asked anew at the next look."""
        self._asked = float("-inf")
        self.outage.fails(error)

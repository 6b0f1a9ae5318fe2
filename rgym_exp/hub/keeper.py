"""The keeper: moves the swarm to the next round when everybody who counts is done, or has had time enough.

Rounds on the contract move only when the stage manager says so; the hub holds that role. What "time enough" is says
``swarm/pace.py``; a round that nobody has announced never ends, so an empty swarm stands still.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rgym_exp.base.outage import Outage
from rgym_exp.errors import SwarmUserError
from rgym_exp.hub.peer_activity import ACTIVE_ROUNDS, PeerActivity
from rgym_exp.hub.round_watch import RoundWatch
from rgym_exp.swarm.shards import EVERYBODY, Slice
from rgym_exp.types import Announcement

log = logging.getLogger("rl_swarm.hub.keeper")

RECHECK_SECONDS = 5.0
"""How often the contract is asked for its round although nobody but this keeper should move it."""
LONGEST_PAUSE_SECONDS = 30.0
"""Upper bound of the back-off while the chain or the DHT can't be reached."""
_SWEEP_EVERY = 4
"""Looks between two glances at every level."""
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

    @property
    def level(self) -> int:
        """The level at which the swarm writes."""
        ...

    async def read(self, round: int, *parts: Slice) -> list[Announcement]:
        """The verified announcements listed under one round by the peers in ``parts``; by everybody, without any."""
        ...

    async def survey(self, round: int, *, sweep: bool = False) -> list[Announcement]:
        """A glance at a round; with ``sweep`` at every level at which somebody might write."""
        ...

    def set_round(self, round_number: int) -> None:
        """Told of each new round, so that records from nowhere near it can be refused."""
        ...


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
        rng: random.Random | None = None,
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
        self._rng = rng or random.Random()
        self._asked = float("-inf")
        self.looks = 0
        self._watch = RoundWatch(round=-1, active={}, level=0, origin=0)

    @property
    def active(self) -> int:
        """How many peers took part in the last rounds and have not left."""
        return len(self._watch.active)

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
            began = self._clock()
            try:
                await self.look()
            except _AWAY as error:
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                self._troubled(error)
            else:
                # In a large swarm a look at every shard takes long; most of the hub's time stays for others.
                pause = max(self._poll_seconds, 3 * (self._clock() - began))
                self.outage.works()
            await asyncio.sleep(pause)

    async def look(self) -> bool:
        """One turn: read, decide, perhaps advance. Returns whether the round was advanced.

        Raises a SwarmUserError (or OSError, TimeoutError) when the chain or the DHT can't be reached.
        """
        self.looks += 1
        if self._clock() - self._asked >= RECHECK_SECONDS:
            await self._ask_round()
        if self.looks % _SWEEP_EVERY == 0:
            # A swarm that grows or shrinks goes to other levels during a round: one shard of each shows where it is.
            self.activity.record(await self._records.survey(self.round, sweep=True))
        parts = [EVERYBODY] if self._is_at_limit() else self._watch.parts(self.activity.announced(self.round))
        is_over = await self._read(parts)
        if is_over and not self._watch.sees_everybody(parts):
            is_over = await self._read([EVERYBODY])
        if is_over:
            await self._advance()
        return is_over

    async def _read(self, parts: list[Slice]) -> bool:
        """Read parts of the round; whether it is over, by all that is known now."""
        self.activity.record(await self._records.read(self.round, *parts))
        self._watch.left(self.activity.gone())
        announced = self.activity.announced(self.round)
        elapsed = self._clock() - self.round_started
        is_over = self._watch.is_over(elapsed=elapsed, announced=announced, everybody=self._watch.sees_everybody(parts))
        return bool(announced) and elapsed >= self._limits.shortest and (is_over or self._is_at_limit())

    def _is_at_limit(self) -> bool:
        return self._clock() - self.round_started >= self._limits.longest

    async def _advance(self) -> None:
        """Advance once. The round is asked for first: after a lost answer it may have moved already."""
        expected = self.round
        await self._ask_round()
        if self.round != expected:
            return
        announced = self.activity.announced(expected)
        seconds = self._clock() - self.round_started
        if self._is_at_limit():
            self.activity.give_up(self._watch.active.keys() - announced)
        await asyncio.to_thread(self._client.advance_round)
        await self._ask_round()
        log.info(
            "round %d ended after %.1f s with %d peers; round %d begins", expected, seconds, len(announced), self.round
        )

    async def _ask_round(self) -> None:
        """Learn the contract's round; a new one starts the clock and, the first time, looks back for active peers."""
        round, stage = await asyncio.to_thread(self._client.round_and_stage)
        self._asked = self._clock()
        if round != self.round:
            self._records.set_round(round)
            await self._records.survey(max(0, round - 1), sweep=True)
            was_set_back = round < self.round
            if was_set_back:
                # Who announced later rounds did so in another past.
                self.activity = PeerActivity()
            if was_set_back or self.round < 0:
                for earlier in range(max(0, round - ACTIVE_ROUNDS), round):
                    self.activity.record(await self._records.read(earlier))
            self.round_started = self._clock()
            self.activity.forget_before(round)
            self._watch = RoundWatch(
                round=round,
                active=self.activity.active(round),
                level=self._records.level,
                origin=self._rng.getrandbits(64),
            )
        if (round, stage) != (self.round, self.stage):
            self.round, self.stage = round, stage
            moved, self.moved = self.moved, asyncio.Event()
            moved.set()

    def _troubled(self, error: Exception) -> None:
        """Whatever was known of the round is asked anew at the next look."""
        self._asked = float("-inf")
        self.outage.fails(error)

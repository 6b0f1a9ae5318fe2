"""The rule of version 0.1.0 for when a round ends and who is fetched, to compare with: ``FORMER``.

A round ended when every peer that had announced in one of the three rounds before had announced again. One that missed
none of them was waited for until the round's limit, half as long after each miss. A node fetched what was announced as
soon as it saw it, the first eight and no more, and waited for each peer it knew 1.5 times as long as that usually took,
and 5 s. A late share was listed under its own round, where nobody looked any more.

Only these decisions are here: levels and shards are read as they are today, in both rules.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable

from rgym_exp.hub.keeper import ContractClient, RecordSource, RoundLimits
from rgym_exp.swarm.shards import Slice
from rgym_exp.swarm.verify import admit
from rgym_exp.types import Announcement, ReceivedShare
from simulation.virtual_dht import VirtualRecords
from simulation.virtual_rule import RULES, Rule

ACTIVE_ROUNDS = 3
FETCHED = 8
FETCHES_AT_ONCE = 4
_CALM_PAUSES = (0.5, 3.0)
_HURRIED_PAUSES = (0.1, 1.0)
_POLL_SECONDS = 0.5
_SWEEP_EVERY = 4


class FormerKeeper:
    """Waits for everybody."""

    def __init__(
        self,
        *,
        client: ContractClient,
        records: RecordSource,
        limits: RoundLimits,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.looks = 0
        self._client, self._records = client, records
        self._limits, self._clock = limits, clock
        self._round, self._began = 0, clock()
        self._announced: dict[int, set[str]] = {}

    async def run(self) -> None:
        """Keep rounds until cancelled."""
        self._round, _ = self._client.round_and_stage()
        for round in range(max(0, self._round - ACTIVE_ROUNDS), self._round):
            await self._read(round)
        while True:
            self.looks += 1
            if self.looks % _SWEEP_EVERY == 0:
                await self._records.survey(self._round, sweep=True)
            await self._read(self._round)
            if self._is_over():
                self._client.advance_round()
                await self._records.survey(self._round, sweep=True)
                self._round, self._began = self._round + 1, self._clock()
                self._announced.pop(self._round - ACTIVE_ROUNDS - 1, None)
            await asyncio.sleep(_POLL_SECONDS)

    async def _read(self, round: int) -> None:
        found = await self._records.read(round)
        self._announced.setdefault(round, set()).update(announcement.peer_id for announcement in found)

    def _is_over(self) -> bool:
        elapsed = self._clock() - self._began
        here = self._announced[self._round]
        if not here or elapsed < self._limits.shortest:
            return False
        missed: dict[str, int] = {}
        for rounds in range(ACTIVE_ROUNDS):
            for peer_id in self._announced.get(self._round - 1 - rounds, ()):
                missed.setdefault(peer_id, rounds)
        return all(elapsed >= self._limits.longest / 2**rounds for peer, rounds in missed.items() if peer not in here)


class _Paces:
    """How long after a round's beginning each peer's announcement comes; infinity where that is unknown."""

    ROUNDS_REMEMBERED = 2
    SLACK = 1.5
    GRACE_SECONDS = 5.0

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        self._paces: dict[str, float] = {}

    def seen(self, peer_id: str, round: int, after_seconds: float = math.inf) -> None:
        if self.newest.get(peer_id, -1) >= round:
            return
        self.newest[peer_id] = round
        before = self._paces.get(peer_id, math.inf)
        usual = after_seconds if math.isinf(before) else (before + after_seconds) / 2
        self._paces[peer_id] = max(after_seconds, usual)

    def waits(self, round: int) -> dict[str, float]:
        """How long each peer is waited for, in seconds since the round began."""
        self.newest = {peer: last for peer, last in self.newest.items() if last >= round - self.ROUNDS_REMEMBERED}
        return {peer: self._wait(self._paces[peer], last < round - 1) for peer, last in self.newest.items()}

    def _wait(self, pace: float, has_missed: bool) -> float:
        if math.isinf(pace):
            return 0.0 if has_missed else math.inf
        return (self.SLACK * pace + self.GRACE_SECONDS) / (2 if has_missed else 1)


class FormerGatherings:
    """The gatherings of one peer, round after round."""

    def __init__(
        self,
        *,
        peer_id: str,
        records: VirtualRecords,
        fetch: Callable[[Announcement], Awaitable[bytes]],
        rng: random.Random,
        clock: Callable[[], float],
    ) -> None:
        self.peer_id, self.records, self.fetch = peer_id, records, fetch
        self.rng, self.clock = rng, clock
        self.paces = _Paces()

    @property
    def is_alone(self) -> bool:
        """See ``Gatherings``."""
        return not self.paces.newest

    def begin(self, round: int) -> FormerGathering:
        """See ``Gatherings``."""
        return FormerGathering(self, round)


class FormerGathering:
    """Fetches whoever is first."""

    def __init__(self, peer: FormerGatherings, round: int) -> None:
        self._peer, self._round, self._began = peer, round, peer.clock()
        self._met: set[str] = set()
        self._queue: deque[Announcement] = deque()
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._received: list[ReceivedShare] = []
        self._settled: set[str] = set()
        self._is_hurried = self._has_looked_in_hurry = False
        self._changed, self._wake = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def finish(self, *, timeout_seconds: float, swarm_round: int) -> list[ReceivedShare]:
        """See ``OneGathering``."""
        self._is_hurried = True
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_seconds):
                while not self._is_complete():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass  # the longest that it waits for anybody
        await self.stop()
        return self._received

    async def stop(self) -> None:
        """See ``OneGathering``."""
        tasks = [self._task, *self._fetching.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_complete(self) -> bool:
        if len(self._received) >= FETCHED:
            return True
        if not self._has_looked_in_hurry or self._queue or self._fetching:
            return False
        waited = self._peer.clock() - self._began
        waits = self._peer.paces.waits(self._round)
        return all(peer in self._settled or waited >= seconds for peer, seconds in waits.items())

    async def _run(self) -> None:
        if self._round > 0:
            for announcement in await self._peer.records.survey(self._round - 1):
                self._seen(announcement)
        was_hurried = False
        pause, longest = _CALM_PAUSES
        while True:
            if self._is_hurried and not was_hurried:
                was_hurried, (pause, longest) = True, _HURRIED_PAUSES
            if len(self._received) + len(self._fetching) + len(self._queue) < FETCHED:
                is_new = await self._look()
                pause = (_HURRIED_PAUSES if was_hurried else _CALM_PAUSES)[0] if is_new else min(2 * pause, longest)
            self._has_looked_in_hurry |= was_hurried
            self._changed.set()
            self._wake.clear()
            if self._is_hurried == was_hurried:
                await self._sleep(pause)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look(self) -> bool:
        """Read a random shard or so: twice as many announcements as are fetched, if there are as many."""
        part = Slice(origin=self._peer.rng.getrandbits(64), bits=self._peer.records.level)
        found = await self._peer.records.read(self._round, part)
        self._peer.rng.shuffle(found)
        new = [one for one in found if one.peer_id != self._peer.peer_id and one.peer_id not in self._met]
        for announcement in new:
            self._met.add(announcement.peer_id)
            self._seen(announcement, after_seconds=self._peer.clock() - self._began)
            self._queue.append(announcement)
        self._launch()
        return bool(new)

    def _seen(self, announcement: Announcement, after_seconds: float = math.inf) -> None:
        if announcement.peer_id != self._peer.peer_id:
            self._peer.paces.seen(announcement.peer_id, announcement.round, after_seconds)

    def _launch(self) -> None:
        while (
            self._queue
            and len(self._fetching) < FETCHES_AT_ONCE
            and len(self._fetching) + len(self._received) < FETCHED
        ):
            announcement = self._queue.popleft()
            self._fetching[announcement.peer_id] = asyncio.create_task(self._take_in(announcement))

    async def _take_in(self, announcement: Announcement) -> None:
        self._received.append(admit(await self._peer.fetch(announcement), announcement, RULES))
        self._settled.add(announcement.peer_id)
        del self._fetching[announcement.peer_id]
        self._launch()
        self._changed.set()


FORMER = Rule(keeper=FormerKeeper, gatherings=FormerGatherings, rounds_late=0)

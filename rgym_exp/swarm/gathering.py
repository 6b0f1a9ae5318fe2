"""Gathering the external shares of one round: read the DHT, fetch what is announced, let through what is sound.

Runs on the exchange's loop from the start of the round, while this node still generates; ``finish`` waits for the rest.
Everything that is wrong with others' data ends here: dropped, counted by reason, never raised.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from rgym_exp.swarm.exchange import Drops, KnownPeers
from rgym_exp.swarm.refused import FetchFailed, PeerDataRefused
from rgym_exp.swarm.verify import ShareRules, admit, objection_to_announcement
from rgym_exp.types import Announcement, ReceivedShare

_CALM_PAUSES = (0.5, 3.0)
"""First and longest pause between two looks at the DHT while the node is still generating, in seconds."""
_HURRIED_PAUSES = (0.1, 1.0)
"""The same once the node waits for us."""
_WIDE_EVERY = 4
_FETCH_TRIES = 3
_FETCH_PAUSE_SECONDS = 0.3
_ANNOUNCEMENTS_PER_PEER = 3
# Not a time-out: whoever didn't answer for that long would hold everybody up once more.
_WORTH_A_RETRY = frozenset({"fetch_failed", "fetch_busy", "fetch_not_here"})

logger = logging.getLogger("rl_swarm.swarm")


class RecordReader(Protocol):
    """What a gathering needs of the DHT (``DhtRecords`` has it)."""

    async def read(self, round: int, enough: int | None = None, *, wide: bool = True) -> list[Announcement]:
        """The announcements of a round, at least ``enough`` if there are as many."""
        ...

    async def survey(self, round: int) -> list[Announcement]:
        """A sample of the announcements of a round that is over."""
        ...


class RoundGathering:
    """The gathering of one round. ``start`` and ``finish`` belong to the exchange's loop."""

    def __init__(
        self,
        *,
        round: int,
        records: RecordReader,
        fetch: Callable[[Announcement], Awaitable[bytes]],
        rules: ShareRules,
        known: KnownPeers,
        drops: Drops,
        own_peer_id: str,
        enough_shares: int,
        fetches_at_once: int,
        rng: random.Random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The round is taken to begin now, by ``clock`` (seconds)."""
        self.round = round
        self._records = records
        self._fetch = fetch
        self._rules = rules
        self._known = known
        self._drops = drops
        self._own = own_peer_id
        self._enough = enough_shares
        self._fetches_at_once = fetches_at_once
        self._rng = rng
        self._clock = clock
        self._began = clock()
        self._digests_met: dict[str, set[str]] = {}
        self._queue: deque[Announcement] = deque()
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._received: dict[str, ReceivedShare] = {}
        self._settled: set[str] = set()
        self._is_hurried = False
        self._looks_in_hurry = 0
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_over = False

    def start(self) -> None:
        """Begin in the background."""
        if not self._is_over and self._task is None:
            self._task = asyncio.create_task(self._run())

    async def finish(self, *, timeout_seconds: float, enough_shares: int) -> list[ReceivedShare]:
        """Wait as ``Gathering.close`` says, stop, and hand over what was received."""
        self._enough = enough_shares
        self._is_hurried = True
        self._wake.set()
        self._launch()
        try:
            async with asyncio.timeout(max(0.0, timeout_seconds)):
                while not self._is_over and not self._is_complete():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            logger.info("Round %d: the time for gathering is up.", self.round)
        missing = self._known.expected(self.round).keys() - self._settled
        if missing and len(self._received) < self._enough:
            logger.info("Round %d: went on without the shares of %d known peers.", self.round, len(missing))
        await self.stop()
        return list(self._received.values())

    async def stop(self) -> None:
        """End the background work; what was received stays."""
        self._is_over = True
        self._changed.set()
        tasks = [*self._fetching.values(), *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_complete(self) -> bool:
        if len(self._received) >= self._enough:
            return True
        # Nobody known may just mean that we have not looked yet: one look after the hurry began decides it.
        if not self._looks_in_hurry or self._queue or self._fetching:
            return False
        waited = self._clock() - self._began
        expected = self._known.expected(self.round)
        return all(peer in self._settled or waited >= seconds for peer, seconds in expected.items())

    async def _run(self) -> None:
        if self.round > 0:
            # Who took part in the round before is who to expect now; this is how a newcomer meets the others.
            for announcement in await self._guarded(self._records.survey(self.round - 1)):
                if announcement.is_leave_notice:
                    self._known.left(announcement.peer_id, announcement.round)
                else:
                    self._known.seen(announcement.peer_id, announcement.round)
        looks = 0
        pause, longest = _CALM_PAUSES
        was_hurried = False
        while True:
            if self._is_hurried and not was_hurried:
                was_hurried = True
                pause, longest = _HURRIED_PAUSES
            if len(self._received) + len(self._fetching) + len(self._queue) < self._enough:
                is_new = await self._look(wide=looks % _WIDE_EVERY == _WIDE_EVERY - 1)
                looks += 1
                pause = (_HURRIED_PAUSES if was_hurried else _CALM_PAUSES)[0] if is_new else min(2 * pause, longest)
            self._looks_in_hurry += was_hurried
            self._changed.set()
            self._wake.clear()
            if self._is_hurried == was_hurried:  # else the hurry began during the look: no pause
                await self._sleep(pause)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look(self, *, wide: bool) -> bool:
        """Read the DHT once; whether there was anything new."""
        found = await self._guarded(self._records.read(self.round, 2 * self._enough, wide=wide))
        self._rng.shuffle(found)
        is_new = [self._consider(announcement) for announcement in found]
        self._launch()
        return any(is_new)

    async def _guarded(self, reading: Awaitable[list[Announcement]]) -> list[Announcement]:
        try:
            return await reading
        except Exception:
            # The DHT library parses what strangers sent and the daemon may be gone: whatever it is, look again later.
            logger.debug("Reading the DHT failed.", exc_info=True)
            self._drops.add("records_unreadable")
            return []

    def _consider(self, announcement: Announcement) -> bool:
        """Queue an announcement's share for fetching unless something is wrong with it; whether it was new."""
        peer_id = announcement.peer_id
        if announcement.is_leave_notice:
            self._known.left(peer_id, announcement.round)
            return False
        digests = self._digests_met.setdefault(peer_id, set())
        if peer_id == self._own or announcement.share_digest in digests or len(digests) >= _ANNOUNCEMENTS_PER_PEER:
            return False
        digests.add(announcement.share_digest)
        if peer_id in self._received:
            return False
        self._known.seen(peer_id, announcement.round, after_seconds=self._clock() - self._began)
        objection = objection_to_announcement(announcement, round=self.round, rules=self._rules)
        if objection is None:
            self._settled.discard(peer_id)
            self._queue.append(announcement)
        else:
            self._drop(announcement, objection)
        return True

    def _launch(self) -> None:
        self._queue = deque(waiting for waiting in self._queue if waiting.peer_id not in self._received)
        for announcement in list(self._queue):
            if (
                self._is_over
                or len(self._fetching) >= self._fetches_at_once
                or len(self._fetching) + len(self._received) >= self._enough
            ):
                return
            # Who announced anew while we fetch what it announced before keeps its place: that may come to nothing.
            if announcement.peer_id not in self._fetching:
                self._queue.remove(announcement)
                self._fetching[announcement.peer_id] = asyncio.create_task(self._take_in(announcement))

    async def _take_in(self, announcement: Announcement) -> None:
        peer_id = announcement.peer_id
        try:
            data = await self._fetch_patiently(announcement)
            self._received[peer_id] = admit(data, announcement, self._rules)
        except PeerDataRefused as refusal:
            self._drop(announcement, refusal.reason)
        except Exception:
            logger.warning("Taking in the share of %s failed in a way not foreseen.", peer_id, exc_info=True)
            self._drop(announcement, "unforeseen")
        finally:
            self._settled.add(peer_id)
            del self._fetching[peer_id]
            self._launch()
            self._changed.set()

    async def _fetch_patiently(self, announcement: Announcement) -> bytes:
        for attempt in range(1, _FETCH_TRIES):
            try:
                return await self._fetch(announcement)
            except FetchFailed as failure:
                if failure.reason not in _WORTH_A_RETRY:
                    raise
                await asyncio.sleep(_FETCH_PAUSE_SECONDS * attempt)
        return await self._fetch(announcement)

    def _drop(self, announcement: Announcement, reason: str) -> None:
        self._drops.add(reason)
        self._settled.add(announcement.peer_id)
        if reason == "other_tasks":
            logger.info(
                "Peer %s plays other tasks (or another reasoning-gym version) than this node; its share is left alone.",
                announcement.peer_id,
            )
        else:
            logger.debug("Dropped the share of %s: %s.", announcement.peer_id, reason)

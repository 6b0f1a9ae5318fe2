"""Gathering the external shares of one round: read the DHT, choose among what is announced, fetch, and check.

Runs on the exchange's loop from the start of the round. While this node still generates, announcements are collected
and nothing is fetched: whoever was first would be heard every time, and the slower half of the swarm never. ``finish``
is called when the node's own share is published, and chooses uniformly among all who have announced by then, and among
the shares of the rounds before that were listed after this node had looked; each share is taken once.

Everything that is wrong with others' data ends here: dropped, counted by reason, never raised.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from rgym_exp.swarm.exchange import Drops, KnownPeers, SharesDealtWith
from rgym_exp.swarm.fetching import MAY_WORK_LATER, SlowServers, fetch_with_retries
from rgym_exp.swarm.listing import place_of, places_before, places_beside
from rgym_exp.swarm.pace import end_of_waiting
from rgym_exp.swarm.reading import RoundRecords
from rgym_exp.swarm.refused import PeerDataRefused
from rgym_exp.swarm.shards import Slice
from rgym_exp.swarm.verify import ShareRules, admit, objection_to_announcement
from rgym_exp.types import Announcement, ReceivedShare, interim_count

_CALM_PAUSES = (1.0, 8.0)
"""First and longest pause between two looks at the DHT while the node is still generating, in seconds."""
_HURRIED_PAUSES = (0.1, 1.0)
"""The same once the node waits for us."""
_ANNOUNCEMENTS_PER_PEER = 3
_SLOW_SECONDS = 1.0
"""A fetch that went on for longer when the round's time for it was up is held against the peer."""

logger = logging.getLogger("rl_swarm.swarm")


class RoundGathering:
    """The gathering of one round. ``start`` and ``finish`` belong to the exchange's loop."""

    def __init__(
        self,
        *,
        round: int,
        records: RoundRecords,
        fetch: Callable[[Announcement], Awaitable[bytes]],
        rules: ShareRules,
        known: KnownPeers,
        dealt_with: SharesDealtWith,
        slow_servers: SlowServers,
        drops: Drops,
        own_peer_id: str,
        fetches_at_once: int,
        rng: random.Random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The round is taken to begin now, by ``clock`` (seconds)."""
        self.round = round
        self._listed = place_of(round)
        self._records = records
        self._fetch = fetch
        self._rules = rules
        self._known = known
        self._dealt_with = dealt_with
        self._slow_servers = slow_servers
        self._drops = drops
        self._own = own_peer_id
        self._enough = 0
        self._fetches_at_once = fetches_at_once
        self._rng = rng
        self._clock = clock
        self._began = clock()
        self._gives_up_at = 0.0
        self._origin = rng.getrandbits(64)
        self._widened = 0
        self._digests_met: dict[str, set[str]] = {}
        self._waiting: dict[str, Announcement] = {}
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._asked_at: dict[str, float] = {}
        self._received: dict[str, ReceivedShare] = {}
        self._settled: set[str] = set()
        self._is_hurried = False
        self._has_looked_in_hurry = False
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_over = False

    def start(self) -> None:
        """Begin in the background."""
        if not self._is_over and self._task is None:
            self._slow_servers.next_round()
            self._task = asyncio.create_task(self._run())

    async def finish(
        self, *, timeout_seconds: float, enough_shares: int, swarm_round: int | None = None
    ) -> list[ReceivedShare]:
        """Fetch as ``Gathering.close`` says, stop, and hand over what was received."""
        self._listed = place_of(self.round if swarm_round is None else swarm_round)
        self._enough = enough_shares
        self._gives_up_at = end_of_waiting(self._clock() - self._began)
        self._is_hurried = True
        self._wake.set()
        try:
            async with asyncio.timeout(max(0.0, timeout_seconds)):
                while not self._is_over and not self._is_complete():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            logger.info("Round %d: the time for gathering is up.", self.round)
        if len(self._received) < self._enough:
            self._note_slow_servers()
        missing = self._expected() - self._settled
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
        if not self._has_looked_in_hurry:
            return False
        expected, is_late = self._expected(), self._is_late()
        if not self._waiting and not self._fetching:
            return is_late or 2 * len(expected & self._settled) >= len(expected)
        # Who served slowly before gets no more than the round's time, whether or not it is most of those we know. And
        # half of a large swarm is more than we fetch from.
        expected = {peer for peer in expected if peer not in self._slow_servers}
        return is_late and 2 * len(expected & self._settled) >= min(len(expected), self._enough)

    def _is_late(self) -> bool:
        return self._clock() - self._began >= self._gives_up_at

    def _note_slow_servers(self) -> None:
        for peer_id in self._fetching:
            if self._clock() - self._asked_at[peer_id] >= _SLOW_SECONDS:
                self._slow_servers.was_slow(peer_id)

    def _expected(self) -> set[str]:
        """The peers that may still announce in time, as far as we would see it."""
        part = self._part()
        return {peer for peer in self._known.expected(self._listed) if part.covers(peer, self._listed)}

    def _part(self) -> Slice:
        """The same sample of the peers all the time (about one shard's), so that a quick one is in it no more often."""
        return Slice(origin=self._origin, bits=max(0, self._records.level - self._widened))

    async def _run(self) -> None:
        # Who took part in the round before is who to expect now; this is how a newcomer meets the others.
        for place in places_before(self._listed)[-1:]:
            for announcement in await self._guarded(self._records.survey(place)):
                self._known.seen(announcement)
        pause, longest = _CALM_PAUSES
        while not self._is_hurried:
            is_new = await self._look(thorough=False)
            pause = _CALM_PAUSES[0] if is_new else min(2 * pause, longest)
            if not self._is_hurried:  # else the hurry began during the look: no pause
                await self._sleep(pause)
        await self._look_back()
        pause, longest = _HURRIED_PAUSES
        while True:
            is_new = False
            # Once in any case: who has announced by now has the same chance as the late ones of the rounds before.
            missing = self._enough - len(self._received) - len(self._fetching) - len(self._waiting)
            if missing > 0 or not self._has_looked_in_hurry:
                is_new = await self._look(thorough=True)
                self._has_looked_in_hurry = True
                if len(self._received) + len(self._waiting) < self._enough:
                    is_new |= await self._look_elsewhere()
            pause = _HURRIED_PAUSES[0] if is_new else min(2 * pause, longest)
            self._launch()
            self._changed.set()
            self._wake.clear()
            await self._sleep(pause)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look(self, *, thorough: bool) -> bool:
        """Read the round's place once; whether there was anything new."""
        listed = self._listed
        found = await self._guarded(self._records.read(listed, self._part(), thorough=thorough))
        return any([self._consider(announcement, listed) for announcement in found])

    async def _look_elsewhere(self) -> bool:
        """There is too little: take a larger sample from now on, and glance, once, at the levels that we don't read."""
        self._widened += 1
        if self._widened > 1:
            return False
        found = await self._guarded(self._records.survey(self._listed))
        return any([self._consider(announcement, self._listed) for announcement in found])

    async def _look_back(self) -> None:
        """Read, once, the places of the rounds before (what was listed there since this node looked), and in an interim
        round those of peers that number otherwise."""
        for listed in places_before(self._listed):
            for announcement in await self._guarded(self._records.read(listed, self._part(), thorough=False)):
                self._consider(announcement, listed)
        beside = places_beside(self._listed)
        reads = (self._guarded(self._records.read(listed, self._part(), thorough=False)) for listed in beside)
        for listed, found in zip(beside, await asyncio.gather(*reads), strict=True):
            for announcement in found:
                self._consider(announcement, listed)

    async def _guarded(self, reading: Awaitable[list[Announcement]]) -> list[Announcement]:
        try:
            return await reading
        except Exception:
            # The DHT library parses what strangers sent and the daemon may be gone: whatever it is, look again later.
            logger.debug("Reading the DHT failed.", exc_info=True)
            self._drops.add("records_unreadable")
            return []

    def _consider(self, announcement: Announcement, listed: int) -> bool:
        """Let an announcement's share wait to be fetched unless something is wrong with it; whether it was new."""
        peer_id, digest = announcement.peer_id, announcement.share_digest
        if peer_id == self._own:
            return False
        self._known.seen(announcement)
        if announcement.is_leave_notice:
            self._waiting.pop(peer_id, None)  # it serves nothing any more
            return False
        if announcement in self._dealt_with:
            if listed == self._listed or (interim_count(listed) and interim_count(self._listed)):
                self._settled.add(peer_id)
            return False
        met = self._digests_met.setdefault(peer_id, set())
        if digest in met or (listed == self._listed and len(met) >= _ANNOUNCEMENTS_PER_PEER):
            return False
        met.add(digest)
        if peer_id in self._received:
            return False
        objection = objection_to_announcement(announcement, round=listed, rules=self._rules)
        if objection is not None:
            self._drop(announcement, objection)
        elif peer_id not in self._waiting or self._waiting[peer_id].listed <= listed:
            self._settled.discard(peer_id)
            self._waiting[peer_id] = announcement
        return True

    def _launch(self) -> None:
        """Fetch from peers drawn at random among those that wait, slow ones last, as many at once as we may."""
        # Who announced anew while we fetch what it announced before keeps its place: that may come to nothing.
        free = [peer for peer in self._waiting if peer not in self._fetching]
        while (
            free
            and not self._is_over
            and len(self._fetching) < self._fetches_at_once
            and len(self._fetching) + len(self._received) < self._enough
        ):
            peer_id = self._rng.choice(self._slow_servers.asked_first(free))
            free.remove(peer_id)
            self._asked_at[peer_id] = self._clock()
            self._fetching[peer_id] = asyncio.create_task(self._take_in(self._waiting.pop(peer_id)))

    async def _take_in(self, announcement: Announcement) -> None:
        peer_id = announcement.peer_id
        try:
            data = await fetch_with_retries(self._fetch, announcement)
            self._received[peer_id] = admit(data, announcement, self._rules)
            self._slow_servers.served(peer_id)
            self._dealt_with.add(announcement)
            self._waiting.pop(peer_id, None)
        except PeerDataRefused as refusal:
            if refusal.reason == "fetch_timeout":
                self._slow_servers.was_slow(peer_id)
            self._drop(announcement, refusal.reason)
        except Exception:
            logger.warning("Taking in the share of %s failed in a way not foreseen.", peer_id, exc_info=True)
            self._drop(announcement, "unforeseen")
        finally:
            self._settled.add(peer_id)
            del self._fetching[peer_id]
            self._launch()
            self._changed.set()

    def _drop(self, announcement: Announcement, reason: str) -> None:
        self._drops.add(reason)
        self._settled.add(announcement.peer_id)
        if reason not in MAY_WORK_LATER:
            self._dealt_with.add(announcement)
        if reason == "other_tasks":
            logger.info(
                "Peer %s plays other tasks (or another reasoning-gym version) than this node; its share is left alone.",
                announcement.peer_id,
            )
        else:
            logger.debug("Dropped the share of %s: %s.", announcement.peer_id, reason)

"""Which way a share is fetched: from its author, or, where that one can't be reached, through a bootnode.

The direct way is tried first and shortly. A peer that could only be reached through a bootnode is asked that way first
for a while, which grows: otherwise every round would begin with a dial that fails.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.swarm.reachability import meet
from rgym_exp.swarm.refused import FetchFailed
from rgym_exp.swarm.transfer import FetchedShare, fetch_share
from rgym_exp.types import Announcement

Way = Literal["direct", "circuit", "bootnode"]
"""direct: over a connection to its author; circuit: libp2p's own relay in between; bootnode: passed on by one."""

DIAL_SECONDS = 4.0
"""For a direct connection. One that comes about takes a few round trips; a router that drops packets says nothing."""
_BOOTNODE_DIAL_SECONDS = 5.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 60.0, 900.0
"""How long a peer is asked through a bootnode first before the direct way is tried again."""
_PEERS_REMEMBERED = 4096

logger = logging.getLogger("rl_swarm.swarm")


@dataclass(frozen=True, kw_only=True)
class _Unreachable:
    until: float
    pause: float


_Try = Callable[[P2P, Announcement, Sequence[PeerID]], Awaitable[bytes]]


class ShareRoutes:
    """Fetches shares and remembers who could be reached how. ``fetch`` belongs to one loop, the rest to any thread."""

    def __init__(self, *, max_bytes: int, timeout_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``timeout_seconds`` bounds each try of one way."""
        self._max_bytes, self._timeout_seconds, self._clock = max_bytes, timeout_seconds, clock
        self._unreachable: dict[str, _Unreachable] = {}
        self._looking_for: dict[str, asyncio.Future[bool]] = {}
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    async def fetch(self, p2p: P2P, announcement: Announcement, bootnodes: Sequence[PeerID]) -> bytes:
        """The share's bytes, their digest checked.

        Raises:
            FetchFailed: as ``fetch_share``, for the way that was tried last.
        """
        ways = await self._ways_to(p2p, announcement.peer_id) if bootnodes else [self._directly]
        for way in ways[:-1]:
            try:
                return await way(p2p, announcement, bootnodes)
            except FetchFailed as failure:
                if failure.reason not in _ANOTHER_WAY_MAY_DO:
                    raise
        return await ways[-1](p2p, announcement, bootnodes)

    def take_ways(self) -> dict[str, int]:
        """How many shares came which way since the last call."""
        with self._lock:
            counts, self._counts = dict(self._counts), Counter()
        return counts

    async def _directly(self, p2p: P2P, announcement: Announcement, bootnodes: Sequence[PeerID]) -> bytes:
        try:
            fetched = await self._fetch(p2p, announcement, None, DIAL_SECONDS)
        except FetchFailed as failure:
            if failure.reason == "fetch_unreachable":
                self._remember(announcement.peer_id)
                self._look_for(p2p, announcement.peer_id, bootnodes)
            raise
        self._unreachable.pop(announcement.peer_id, None)
        return self._counted(fetched, "circuit" if "/p2p-circuit" in fetched.address else "direct")

    async def _through(self, p2p: P2P, announcement: Announcement, bootnodes: Sequence[PeerID]) -> bytes:
        failure = FetchFailed("fetch_unreachable")
        for bootnode in bootnodes:
            try:
                return self._counted(await self._fetch(p2p, announcement, bootnode, _BOOTNODE_DIAL_SECONDS), "bootnode")
            except FetchFailed as failed:
                failure = failed  # another bootnode may be less busy, or have a connection to the author
        raise failure

    async def _fetch(self, p2p: P2P, announcement: Announcement, via: PeerID | None, dial: float) -> FetchedShare:
        return await fetch_share(
            p2p,
            announcement.peer_id,
            announcement.share_digest,
            size=announcement.share_size,
            max_bytes=self._max_bytes,
            timeout_seconds=self._timeout_seconds,
            dial_seconds=dial,
            via=via,
        )

    def _counted(self, fetched: FetchedShare, way: Way) -> bytes:
        with self._lock:
            self._counts[way] += 1
        return fetched.data

    async def _ways_to(self, p2p: P2P, peer_id: str) -> list[_Try]:
        """What to try for a share of this peer, in order."""
        try:
            connected = [each for each in await p2p.list_peers() if each.peer_id.to_base58() == peer_id]
        except (OSError, EOFError, P2PDaemonError):
            connected = []
        if connected:
            # A circuit goes through a bootnode as well, has less room, and carries each share once for each receiver.
            is_direct = any("/p2p-circuit" not in str(address) for each in connected for address in each.addrs)
            return [self._directly, self._through] if is_direct else [self._through, self._directly]
        remembered = self._unreachable.get(peer_id)
        if remembered is not None and self._clock() < remembered.until:
            return [self._through]
        return [self._directly, self._through]

    def _look_for(self, p2p: P2P, peer_id: str, bootnodes: Sequence[PeerID]) -> None:
        """In the background: this round's share comes through a bootnode, the next perhaps directly."""
        if bootnodes and peer_id not in self._looking_for:
            task = asyncio.ensure_future(meet(p2p, PeerID.from_base58(peer_id), bootnodes))
            self._looking_for[peer_id] = task
            task.add_done_callback(lambda done: self._looking_for.pop(peer_id, None))

    def _remember(self, peer_id: str) -> None:
        before = self._unreachable.pop(peer_id, None)
        pause = min(2 * before.pause, _LONGEST_PAUSE_SECONDS) if before is not None else _FIRST_PAUSE_SECONDS
        self._unreachable[peer_id] = _Unreachable(until=self._clock() + pause, pause=pause)
        while len(self._unreachable) > _PEERS_REMEMBERED:
            del self._unreachable[next(iter(self._unreachable))]


# What the author itself said, or what would be wrong any way, is final.
_ANOTHER_WAY_MAY_DO = frozenset({"fetch_unreachable", "fetch_failed", "fetch_busy"})

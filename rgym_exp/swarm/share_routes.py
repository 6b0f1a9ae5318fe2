"""Which way a share is fetched: from its author, or, where that one can't be reached, through a bootnode.

The direct way is tried first and shortly. A peer that could only be reached through a bootnode is asked that way first
for a while, which grows: otherwise every round would begin with a dial that fails.

libp2p tries to punch a hole through both routers once, when two peers meet over a circuit (DCUtR). Where it knew too
little then, of the addresses outside, both stay on the circuit; so such peers are met anew after a while.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Literal

from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.swarm.fetching import PeerPauses
from rgym_exp.swarm.reachability import meet, meet_anew
from rgym_exp.swarm.refused import FetchFailed
from rgym_exp.swarm.transfer import FetchedShare, fetch_share
from rgym_exp.types import Announcement

Way = Literal["direct", "circuit", "bootnode"]
"""direct: over a connection to its author; circuit: libp2p's own relay in between; bootnode: passed on by one."""

DIAL_SECONDS = 4.0
"""For a direct connection. One that comes about takes a few round trips; a router that drops packets says nothing."""
_BOOTNODE_DIAL_SECONDS = 5.0
_BEFORE_DIRECTLY_SECONDS = 20.0
"""How long a peer is asked through a bootnode first before the direct way is tried again; at first."""
_BEFORE_ANEW_SECONDS = 10.0
"""How long two peers stay on a circuit before they meet anew; at first."""
_LONGEST_PAUSE_SECONDS = 900.0

logger = logging.getLogger("rl_swarm.swarm")


_Try = Callable[[P2P, Announcement, Sequence[PeerID]], Awaitable[bytes]]


class ShareRoutes:
    """Fetches shares and remembers who could be reached how. ``fetch`` belongs to one loop, the rest to any thread."""

    def __init__(self, *, max_bytes: int, timeout_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``timeout_seconds`` bounds each try of one way."""
        self._max_bytes, self._timeout_seconds = max_bytes, timeout_seconds
        self._unreachable = PeerPauses(
            first_seconds=_BEFORE_DIRECTLY_SECONDS, longest_seconds=_LONGEST_PAUSE_SECONDS, clock=clock
        )
        self._on_circuit = PeerPauses(
            first_seconds=_BEFORE_ANEW_SECONDS, longest_seconds=_LONGEST_PAUSE_SECONDS, clock=clock
        )
        self._looking_for: dict[str, asyncio.Task[bool]] = {}
        self._lock = threading.Lock()
        self._ways: dict[str, str] = {}

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

    def take_ways(self) -> dict[str, str]:
        """Which way each peer's share came, of those that did since the last call."""
        with self._lock:
            ways, self._ways = self._ways, {}
        return ways

    async def _directly(self, p2p: P2P, announcement: Announcement, bootnodes: Sequence[PeerID]) -> bytes:
        try:
            fetched = await self._fetch(p2p, announcement, None, DIAL_SECONDS)
        except FetchFailed as failure:
            if failure.reason == "fetch_unreachable":
                self._unreachable.begin(announcement.peer_id)
                author = PeerID.from_base58(announcement.peer_id)
                self._look_for(announcement.peer_id, lambda: meet(p2p, author, bootnodes))
            raise
        self._unreachable.worked(announcement.peer_id)
        return self._came(announcement, fetched, "circuit" if "/p2p-circuit" in fetched.address else "direct")

    async def _through(self, p2p: P2P, announcement: Announcement, bootnodes: Sequence[PeerID]) -> bytes:
        failure = FetchFailed("fetch_unreachable")
        for bootnode in bootnodes:
            try:
                fetched = await self._fetch(p2p, announcement, bootnode, _BOOTNODE_DIAL_SECONDS)
            except FetchFailed as failed:
                failure = failed  # another bootnode may be less busy, or have a connection to the author
            else:
                return self._came(announcement, fetched, "bootnode")
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

    def _came(self, announcement: Announcement, fetched: FetchedShare, way: Way) -> bytes:
        with self._lock:
            self._ways[announcement.peer_id] = way
        return fetched.data

    async def _ways_to(self, p2p: P2P, peer_id: str) -> list[_Try]:
        """What to try for a share of this peer, in order."""
        try:
            connected = [each for each in await p2p.list_peers() if each.peer_id.to_base58() == peer_id]
        except (OSError, EOFError, P2PDaemonError):
            connected = []
        if connected:
            # A circuit goes through a bootnode as well, has less room, and carries each share once for each receiver.
            if any("/p2p-circuit" not in str(address) for each in connected for address in each.addrs):
                self._on_circuit.worked(peer_id)
                return [self._directly, self._through]
            self._meet_anew(p2p, peer_id)
            return [self._through, self._directly]
        return [self._through] if self._unreachable.is_under_way(peer_id) else [self._directly, self._through]

    def _meet_anew(self, p2p: P2P, peer_id: str) -> None:
        """In the background, after a pause: libp2p's next chance to punch a hole."""
        if self._on_circuit.is_under_way(peer_id):
            return
        is_time = peer_id in self._on_circuit
        self._on_circuit.begin(peer_id)
        # One of the two does, or each would cut off what the other has begun.
        if is_time and p2p.peer_id.to_base58() < peer_id:
            self._look_for(peer_id, lambda: meet_anew(p2p, PeerID.from_base58(peer_id)))

    def _look_for(self, peer_id: str, look: Callable[[], Coroutine[None, None, bool]]) -> None:
        """In the background: this round's share comes through a bootnode, the next perhaps directly."""
        if peer_id not in self._looking_for:
            task = asyncio.create_task(look())
            self._looking_for[peer_id] = task
            task.add_done_callback(lambda done: self._looking_for.pop(peer_id, None))


# What the author itself said, or what would be wrong any way, is final.
_ANOTHER_WAY_MAY_DO = frozenset({"fetch_unreachable", "fetch_failed", "fetch_busy"})

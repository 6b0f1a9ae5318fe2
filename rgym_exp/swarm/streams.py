"""Opening libp2p streams in bounded time, and answering only so many at once."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.datastructures import StreamInfo
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.swarm.multiaddrs import host_of, household_of
from rgym_exp.swarm.refused import PeerDataRefused

_THROUGH_RELAYS = "through relays"
_BROKEN_OFF = (TimeoutError, OSError, EOFError, ValueError, P2PDaemonError, PeerDataRefused)
"""What an answer raises when the asker, or another peer that it takes, hangs, breaks off or sends nonsense."""

logger = logging.getLogger("rl_swarm.swarm")

Stream = tuple[StreamInfo, asyncio.StreamReader, asyncio.StreamWriter]


async def open_stream(p2p: P2P, peer_id: PeerID, protocol: str, *, timeout_seconds: float) -> Stream:
    """Open a stream to a peer; libp2p dials it, and looks for its addresses, where there is no connection.

    Raises:
        TimeoutError: it took too long. The daemon tries on for a while, and what it opens then is closed.
        OSError, EOFError, P2PDaemonError: the peer can't be reached or doesn't speak the protocol.
    """
    opening = asyncio.ensure_future(p2p.call_binary_stream_handler(peer_id, protocol))
    try:
        await asyncio.wait({opening}, timeout=timeout_seconds)
    finally:
        # Cancelled instead, the daemon would hold a stream open for us that nobody ever closes.
        if not opening.done():
            opening.add_done_callback(_close)
    if not opening.done():
        raise TimeoutError
    return opening.result()


def _close(opening: asyncio.Future[Stream]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[2].close()


def household_of_stream(info: StreamInfo) -> str:
    """Whose line a stream comes in by. All that comes through libp2p's relays counts as one household."""
    host = host_of(str(info.addr))
    return _THROUGH_RELAYS if host is None else household_of(host)


class StreamCounter:
    """How many streams are being answered: so many in all, for each peer and, identities being free, each household."""

    def __init__(self, *, total: int, per_peer: int, per_household: int) -> None:
        self._total, self._per_peer, self._per_household = total, per_peer, per_household
        self._peers: Counter[str] = Counter()
        self._households: Counter[str] = Counter()

    @property
    def admitted(self) -> int:
        """How many there are now; those beyond the limits are not among them."""
        return self._peers.total()

    async def answer(
        self,
        info: StreamInfo,
        writer: asyncio.StreamWriter,
        work: Callable[[], Awaitable[None]],
        *,
        what: str,
        busy: bytes = b"",
    ) -> None:
        """Have ``work`` answer a stream that came in, and close it.

        A peer that hangs, breaks off or asks nonsense costs a closed stream, no more. One beyond the limits is told
        ``busy``, unread. ``what`` names the request in the log, e.g. ``share request``.
        """
        try:
            with self.one(info) as is_admitted:
                if is_admitted:
                    await work()
                elif busy:
                    writer.write(busy)
        except _BROKEN_OFF:
            logger.debug("A %s of %s was not completed.", what, info.peer_id, exc_info=True)
        finally:
            writer.close()

    @contextmanager
    def one(self, info: StreamInfo) -> Iterator[bool]:
        """Count a stream while the context lasts, if it is within the limits; whether it is.

        One that is not must be closed at once, unread: it counts nowhere, so that nobody can shut others out by it.
        """
        peer, household = str(info.peer_id), household_of_stream(info)
        if (
            self.admitted >= self._total
            or self._peers[peer] >= self._per_peer
            or self._households[household] >= self._per_household
        ):
            yield False
            return
        counts = ((self._peers, peer), (self._households, household))
        for counter, key in counts:
            counter[key] += 1
        try:
            yield True
        finally:
            for counter, key in counts:
                counter[key] -= 1
                if not counter[key]:
                    del counter[key]

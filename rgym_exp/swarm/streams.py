"""Opening libp2p streams in bounded time, and answering only so many at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.datastructures import StreamInfo

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


class StreamCounter:
    """How many streams are being answered: so many in all, and so many for each peer."""

    def __init__(self, *, total: int, per_peer: int) -> None:
        self._total, self._per_peer = total, per_peer
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, peer_id: str) -> Iterator[bool]:
        """Count a stream of this peer while the context lasts; whether it is within the limits."""
        is_admitted = self._open[peer_id] < self._per_peer and self._open.total() < self._total
        self._open[peer_id] += 1
        try:
            yield is_admitted
        finally:
            self._open[peer_id] -= 1
            if not self._open[peer_id]:
                del self._open[peer_id]

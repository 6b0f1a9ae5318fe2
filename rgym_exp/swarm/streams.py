"""Opening a libp2p stream in bounded time, and closing one that opens when nobody waits for it any more."""

from __future__ import annotations

import asyncio

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

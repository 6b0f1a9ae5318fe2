"""Share bytes from peer to peer: a bounded store, served by digest on the stream protocol ``/rl-swarm/share/1``.

A request is the share's 32-byte SHA-256. The answer is one status byte, and after `HERE` a 4-byte big-endian length and
the bytes. The reader knows size and digest from the signed announcement, so it never reads more than was announced.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter

from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.datastructures import StreamInfo
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.swarm.refused import FetchFailed

PROTOCOL = "/rl-swarm/share/1"
HERE, NOT_HERE, BUSY = b"\x00", b"\x01", b"\x02"
_DIGEST_BYTES = 32
_ROUNDS_KEPT = 3
_MAX_STREAMS = 64
_MAX_STREAMS_PER_PEER = 4
_REQUEST_SECONDS = 5.0
_SEND_SECONDS = 30.0
_CHUNK_BYTES = 1 << 16

logger = logging.getLogger("rl_swarm.swarm")


class ShareStore:
    """The bytes of this node's shares of the last few rounds that it played, by digest.

    The last ones by the order in which they were played: the chain may be set back, and the numbers of interim rounds
    are far above those of the rounds that follow.
    """

    def __init__(self) -> None:
        self._by_round: dict[int, dict[bytes, bytes]] = {}

    def put(self, round_number: int, data: bytes) -> str:
        """Keep a share, forget the one that was put in first, and return the digest (64 hex digits) to ask for."""
        digest = hashlib.sha256(data).digest()
        self._by_round.pop(round_number, None)
        self._by_round[round_number] = {digest: data}
        for old in list(self._by_round)[:-_ROUNDS_KEPT]:
            del self._by_round[old]
        return digest.hex()

    def get(self, digest: bytes) -> bytes | None:
        """The share with this digest (32 bytes), if it is still kept."""
        for shares in self._by_round.values():
            if digest in shares:
                return shares[digest]
        return None


class ShareServer:
    """Answers other peers' requests; so many at a time, so many a peer, and nobody keeps a stream open for long."""

    def __init__(self, store: ShareStore) -> None:
        self._store = store
        self._streams: Counter[str] = Counter()

    async def start(self, p2p: P2P) -> None:
        """Register the protocol at a (new) daemon."""
        await p2p.add_binary_stream_handler(PROTOCOL, self.answer)

    async def answer(self, info: StreamInfo, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer. A peer that hangs, breaks off or asks nonsense costs a closed stream, no more."""
        peer = str(info.peer_id)
        is_busy = self._streams[peer] >= _MAX_STREAMS_PER_PEER or self._streams.total() >= _MAX_STREAMS
        self._streams[peer] += 1
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                digest = await reader.readexactly(_DIGEST_BYTES)
            data = None if is_busy else self._store.get(digest)
            async with asyncio.timeout(_SEND_SECONDS):
                await _send_answer(writer, BUSY if is_busy else NOT_HERE, data)
        except (TimeoutError, OSError, EOFError):
            logger.debug("A share request of %s was not completed.", peer, exc_info=True)
        finally:
            self._streams[peer] -= 1
            if not self._streams[peer]:
                del self._streams[peer]
            writer.close()


async def fetch_share(
    p2p: P2P, peer_id: str, digest: str, *, size: int, max_bytes: int, timeout_seconds: float
) -> bytes:
    """Fetch the share that ``peer_id`` announced with this digest (hex) and size (bytes).

    Raises:
        FetchFailed: with one of the reasons ``share_too_large``, ``fetch_timeout``, ``fetch_failed``,
            ``fetch_not_here``, ``fetch_busy``, ``wrong_size``, ``wrong_digest``.
    """
    if size > max_bytes:
        raise FetchFailed("share_too_large")
    try:
        async with asyncio.timeout(timeout_seconds):
            data = await _fetch(p2p, PeerID.from_base58(peer_id), bytes.fromhex(digest), size)
    except TimeoutError:
        raise FetchFailed("fetch_timeout") from None
    except (OSError, EOFError, P2PDaemonError):
        raise FetchFailed("fetch_failed") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise FetchFailed("wrong_digest")
    return data


async def _fetch(p2p: P2P, peer_id: PeerID, digest: bytes, size: int) -> bytes:
    _, reader, writer = await p2p.call_binary_stream_handler(peer_id, PROTOCOL)
    try:
        writer.write(digest)
        await writer.drain()
        status = await reader.readexactly(1)
        if status != HERE:
            raise FetchFailed({NOT_HERE: "fetch_not_here", BUSY: "fetch_busy"}.get(status, "fetch_failed"))
        # The length is believed only if it is the announced one; nothing is read or reserved for any other.
        if int.from_bytes(await reader.readexactly(4), "big") != size:
            raise FetchFailed("wrong_size")
        return await reader.readexactly(size)
    finally:
        writer.close()


async def _send_answer(writer: asyncio.StreamWriter, otherwise: bytes, data: bytes | None) -> None:
    if data is None:
        writer.write(otherwise)
        await writer.drain()
        return
    writer.write(HERE + len(data).to_bytes(4, "big"))
    for start in range(0, len(data), _CHUNK_BYTES):
        writer.write(data[start : start + _CHUNK_BYTES])
        await writer.drain()

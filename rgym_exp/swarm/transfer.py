"""Share bytes from peer to peer: a bounded store, served by digest on the stream protocol ``/rl-swarm/share/1``.

A request is the share's 32-byte SHA-256. The answer is one status byte, and after `HERE` a 4-byte big-endian length and
the bytes. The reader knows size and digest from the signed announcement, so it never reads more than was announced.

A peer that can't be reached is asked through a bootnode that both have a connection to (``/rl-swarm/share-via/1``, see
``share_relay``): the request names its author as well, and the answer is the same.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.datastructures import StreamInfo
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.swarm.refused import FetchFailed
from rgym_exp.swarm.streams import Stream, StreamCounter, open_stream

PROTOCOL = "/rl-swarm/share/1"
VIA_PROTOCOL = "/rl-swarm/share-via/1"
HERE, NOT_HERE, BUSY, UNREACHABLE = b"\x00", b"\x01", b"\x02", b"\x03"
_REFUSALS = {NOT_HERE: "fetch_not_here", BUSY: "fetch_busy", UNREACHABLE: "fetch_unreachable"}
_DIGEST_BYTES = 32
_PEER_ID_CHARS = range(40, 65)  # base58 of a SHA-256 multihash has 46, of other keys up to 62
_ROUNDS_KEPT = 3
_MAX_STREAMS, _MAX_STREAMS_PER_PEER = 128, 4
_MAX_STREAMS_PER_HOUSEHOLD = 32
"""Several nodes of one home, which all want the same share in the same moment."""
_REQUEST_SECONDS = 5.0
_SEND_SECONDS = 30.0
_CHUNK_BYTES = 1 << 16


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
    """Answers other peers' requests; so many at a time and for each, and nobody keeps a stream open for long."""

    def __init__(self, store: ShareStore, streams: StreamCounter | None = None) -> None:
        self._store = store
        self._streams = streams or StreamCounter(
            total=_MAX_STREAMS, per_peer=_MAX_STREAMS_PER_PEER, per_household=_MAX_STREAMS_PER_HOUSEHOLD
        )

    async def start(self, p2p: P2P) -> None:
        """Register the protocol at a (new) daemon."""
        await p2p.add_binary_stream_handler(PROTOCOL, self.answer)

    async def answer(self, info: StreamInfo, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer. A peer that hangs, breaks off or asks nonsense costs a closed stream, no more."""
        await self._streams.answer(info, writer, partial(self._answer, reader, writer), what="share request", busy=BUSY)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_REQUEST_SECONDS):
            digest = await reader.readexactly(_DIGEST_BYTES)
        async with asyncio.timeout(_SEND_SECONDS):
            await send_answer(writer, NOT_HERE, self._store.get(digest))


@dataclass(frozen=True, kw_only=True)
class FetchedShare:
    """A share's bytes, whose digest is right, and how they came."""

    data: bytes
    address: str
    """Multiaddr of the far end of the connection that they came over; one with ``/p2p-circuit`` is libp2p's relay's."""


async def fetch_share(
    p2p: P2P,
    peer_id: str,
    digest: str,
    *,
    size: int | None,
    max_bytes: int,
    timeout_seconds: float,
    dial_seconds: float | None = None,
    via: PeerID | None = None,
    on_bytes: Callable[[int, bytes], None] | None = None,
) -> FetchedShare:
    """Fetch the share of ``peer_id`` with this digest (hex): from itself, or from the bootnode ``via``.

    ``size`` is what its announcement says, in bytes; None accepts any up to ``max_bytes``. ``dial_seconds`` bounds what
    it takes to get a stream to whom is asked, within ``timeout_seconds``, which bounds the whole. ``on_bytes``
    is given the share's size and the next of its bytes as they come in, before anybody knows whether they are right.

    Raises:
        FetchFailed: with one of the reasons ``share_too_large``, ``fetch_timeout``, ``fetch_failed``,
            ``fetch_not_here``, ``fetch_busy``, ``wrong_size``, ``wrong_digest``; and ``fetch_unreachable``: no stream
            to it could be opened, or ``via`` has no connection to it.
    """
    if size is not None and size > max_bytes:
        raise FetchFailed("share_too_large")
    try:
        author, digest_bytes = PeerID.from_base58(peer_id), bytes.fromhex(digest)
        request, protocol = digest_bytes, PROTOCOL
        if via is not None:
            request, protocol = via_request(digest_bytes, peer_id), VIA_PROTOCOL
        async with asyncio.timeout(timeout_seconds):
            info, reader, writer = await _open(p2p, via or author, protocol, dial_seconds or timeout_seconds)
            try:
                data = await _ask(reader, writer, request, size=size, max_bytes=max_bytes, on_bytes=on_bytes)
            finally:
                writer.close()
    except TimeoutError:
        raise FetchFailed("fetch_timeout") from None
    except (OSError, EOFError, P2PDaemonError):
        raise FetchFailed("fetch_failed") from None
    if hashlib.sha256(data).digest() != digest_bytes:
        raise FetchFailed("wrong_digest")
    return FetchedShare(data=data, address=str(info.addr))


def via_request(digest: bytes, peer_id: str) -> bytes:
    """What is asked of a bootnode: the digest, one byte with the length of the author's peer id, and the id."""
    name = peer_id.encode()
    return digest + bytes([len(name)]) + name


async def read_via_request(reader: asyncio.StreamReader) -> tuple[bytes, PeerID]:
    """The digest and the author of a ``via_request``. Raises EOFError or ValueError for anything else."""
    digest = await reader.readexactly(_DIGEST_BYTES)
    length = (await reader.readexactly(1))[0]
    if length not in _PEER_ID_CHARS:
        raise ValueError("A peer id has another length.")
    return digest, PeerID.from_base58((await reader.readexactly(length)).decode())


async def _open(p2p: P2P, peer_id: PeerID, protocol: str, seconds: float) -> Stream:
    try:
        return await open_stream(p2p, peer_id, protocol, timeout_seconds=seconds)
    except (TimeoutError, OSError, EOFError, P2PDaemonError):
        raise FetchFailed("fetch_unreachable") from None


async def _ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    request: bytes,
    *,
    size: int | None,
    max_bytes: int,
    on_bytes: Callable[[int, bytes], None] | None,
) -> bytes:
    writer.write(request)
    await writer.drain()
    status = await reader.readexactly(1)
    if status != HERE:
        raise FetchFailed(_REFUSALS.get(status, "fetch_failed"))
    # The length is believed only if it is the announced one; nothing is read or reserved for any other.
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > max_bytes or size not in (None, length):
        raise FetchFailed("wrong_size")
    data = bytearray()
    while len(data) < length:
        chunk = await reader.read(min(_CHUNK_BYTES, length - len(data)))
        if not chunk:
            raise EOFError("The stream was closed before the share was complete.")
        data += chunk
        if on_bytes is not None:
            on_bytes(length, chunk)
    return bytes(data)


async def send_answer(writer: asyncio.StreamWriter, otherwise: bytes, data: bytes | None) -> None:
    """``HERE``, length and bytes; without any, the status ``otherwise``."""
    if data is None:
        writer.write(otherwise)
        await writer.drain()
        return
    writer.write(HERE + len(data).to_bytes(4, "big"))
    for start in range(0, len(data), _CHUNK_BYTES):
        writer.write(data[start : start + _CHUNK_BYTES])
        await writer.drain()

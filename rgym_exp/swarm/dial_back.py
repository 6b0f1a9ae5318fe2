"""What a bootnode finds out about peers, and tells: whether they can be reached, and where.

A peer sees its own addresses only from inside: behind a router it can't know what others would have to dial. On
``/rl-swarm/dial-back/1`` it names its ports, and the bootnode dials them at the address that the peer's connection
comes from, there alone. On ``/rl-swarm/addresses/1`` a peer is asked for: the answer is what was found to be reachable,
and, to a peer behind the same public address, those in the house's own network: two nodes in one home meet there.

Both messages are msgpack after a 2-byte big-endian length.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgpack
from hivemind.p2p import P2P
from hivemind.p2p.p2p_daemon_bindings.datastructures import StreamInfo

from rgym_exp.swarm.multiaddrs import host_of, household_of, is_inside, is_peer_port
from rgym_exp.swarm.streams import StreamCounter

DIAL_BACK_PROTOCOL = "/rl-swarm/dial-back/1"
ADDRESSES_PROTOCOL = "/rl-swarm/addresses/1"
MAX_PORTS = 2
MAX_ADDRESSES = 8
_MAX_MESSAGE_BYTES = 2048
_REQUEST_SECONDS = 5.0
_DIAL_SECONDS = 3.0
_DIALS_AT_ONCE = 16
_PAUSE_SECONDS = 3.0
"""Between two dials for one address; a peer asks when it joins and every few minutes."""
_PEERS_REMEMBERED = 8192
_REMEMBERED_SECONDS = 1800.0
# Every libp2p host says this first. A router that answers by itself on a port does not.
_GREETING = b"\x13/multistream/1.0.0\n"

_STREAMS, _STREAMS_PER_PEER, _STREAMS_PER_HOUSEHOLD = 256, 4, 64

Dial = Callable[[str, int], Awaitable[bool]]


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is remembered of a peer that asked."""

    host: str
    """The address that its connection comes from."""
    open_ports: tuple[int, ...]
    inside: tuple[str, ...]
    """Its addresses in its own network, as multiaddrs."""
    at: float


class ReachabilityService:
    """The bootnode's side. All methods belong to the exchange's loop."""

    def __init__(self, *, dial: Dial | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """``dial(host, port)`` says whether a peer answers there."""
        self._dial, self._clock = dial or answers_as_peer, clock
        self._peers: OrderedDict[str, _Known] = OrderedDict()
        self._dialled: OrderedDict[str, float] = OrderedDict()
        self._dialling = 0
        self._streams = StreamCounter(total=_STREAMS, per_peer=_STREAMS_PER_PEER, per_household=_STREAMS_PER_HOUSEHOLD)

    async def start(self, p2p: P2P) -> None:
        """Register both protocols at a daemon."""
        await p2p.add_binary_stream_handler(DIAL_BACK_PROTOCOL, self.dial_back)
        await p2p.add_binary_stream_handler(ADDRESSES_PROTOCOL, self.tell_addresses)

    async def dial_back(self, info: StreamInfo, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer: [the asker's address, ports at which it was reached, whether they were tried]."""
        await self._streams.answer(
            info, writer, partial(self._dial_back, info, reader, writer), what="request to be dialled back"
        )

    async def tell_addresses(
        self, info: StreamInfo, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One request (a peer id), one answer: a list of multiaddrs, empty where nothing is known."""
        await self._streams.answer(
            info, writer, partial(self._tell_addresses, info, reader, writer), what="request for a peer's addresses"
        )

    async def _dial_back(self, info: StreamInfo, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_REQUEST_SECONDS + MAX_PORTS * _DIAL_SECONDS):
            ports, inside = _asked(await receive(reader))
            host = host_of(str(info.addr))
            was_tried = host is not None and self._may_dial(host)
            reached = await self._reached(host, ports) if host is not None and was_tried else []
            if host is not None:
                self._remember(str(info.peer_id), host, reached if was_tried else None, inside)
            await send(writer, [host or "", reached, was_tried])

    async def _tell_addresses(
        self, info: StreamInfo, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async with asyncio.timeout(_REQUEST_SECONDS):
            asked = await receive(reader)
            known = self._addresses(asked, host_of(str(info.addr))) if isinstance(asked, str) else []
            await send(writer, known)

    def _may_dial(self, host: str) -> bool:
        now, household = self._clock(), household_of(host)
        if self._dialling >= _DIALS_AT_ONCE or now - self._dialled.get(household, -_PAUSE_SECONDS) < _PAUSE_SECONDS:
            return False
        self._dialled[household] = now
        self._dialled.move_to_end(household)
        while len(self._dialled) > _PEERS_REMEMBERED:
            self._dialled.popitem(last=False)
        return True

    async def _reached(self, host: str, ports: Sequence[int]) -> list[int]:
        self._dialling += 1
        try:
            return [port for port in ports if await self._dial(host, port)]
        finally:
            self._dialling -= 1

    def _remember(self, peer_id: str, host: str, reached: Sequence[int] | None, inside: Sequence[str]) -> None:
        before = self._peers.get(peer_id)
        if reached is None:  # not tried now: what was found before holds, if it was for this address
            reached = before.open_ports if before is not None and before.host == host else ()
        self._peers[peer_id] = _Known(host=host, open_ports=tuple(reached), inside=tuple(inside), at=self._clock())
        self._peers.move_to_end(peer_id)
        while len(self._peers) > _PEERS_REMEMBERED:
            self._peers.popitem(last=False)

    def _addresses(self, peer_id: str, asker_host: str | None) -> list[str]:
        known = self._peers.get(peer_id)
        if known is None or self._clock() - known.at > _REMEMBERED_SECONDS:
            return []
        inside = known.inside if known.host == asker_host else ()
        version = ipaddress.ip_address(known.host).version
        return [*inside, *(f"/ip{version}/{known.host}/tcp/{port}" for port in known.open_ports)]


async def answers_as_peer(host: str, port: int) -> bool:
    """Whether a libp2p host takes connections there."""
    writer = None
    try:
        async with asyncio.timeout(_DIAL_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(_GREETING)
            return await reader.readexactly(len(_GREETING)) == _GREETING
    except (TimeoutError, OSError, EOFError):
        return False
    finally:
        if writer is not None:
            writer.close()


async def receive(reader: asyncio.StreamReader) -> object:
    """One message. Raises EOFError or ValueError for anything else."""
    length = int.from_bytes(await reader.readexactly(2), "big")
    if length > _MAX_MESSAGE_BYTES:
        raise ValueError("The message is too long.")
    try:
        return msgpack.unpackb(
            await reader.readexactly(length), max_map_len=0, max_ext_len=0, max_array_len=2 * MAX_ADDRESSES
        )
    except (TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ValueError("The message is no msgpack.") from error


async def send(writer: asyncio.StreamWriter, message: object) -> None:
    """Send one message."""
    packed = msgpack.packb(message)
    writer.write(len(packed).to_bytes(2, "big") + packed)
    await writer.drain()


def _asked(message: object) -> tuple[list[int], list[str]]:
    """The ports and inside addresses of a request. Raises ValueError for anything else."""
    if not isinstance(message, list) or len(message) != 2:
        raise ValueError("The request has not two parts.")
    ports, inside = message
    if not isinstance(ports, list) or len(ports) > MAX_PORTS or not isinstance(inside, list):
        raise ValueError("The request is not [ports, addresses].")
    if not all(is_peer_port(port) for port in ports):
        raise ValueError("A port is out of range.")
    return ports, [address for address in inside if isinstance(address, str) and is_inside(address)]

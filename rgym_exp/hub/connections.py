"""The hub's HTTP connections: so many in all that files never run out, so many an address, none idle for long.

aiohttp counts neither connections nor the seconds until a request's first line is there, so each of its connection
handlers gets one of ours before it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web

from rgym_exp.hub.beside import beside
from rgym_exp.hub.client_address import CLIENT, ClientAddresses, counted

LOOK_SECONDS = 5.0
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 10\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 48\r\n\r\nToo many connections; close some, or come later."
)


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """How many connections, and for how long."""

    in_all: int = 8192
    per_address: int = 256
    """Of one client. A node has about five, so that 40 behind one address fit; trusted proxies are not limited so."""
    first_request_seconds: float = 15.0
    """From the connection to the end of its first request's headers."""
    idle_seconds: float = 75.0
    """Between two requests, the second one's headers included."""
    request_seconds: float = 120.0
    """For reading a request's body, working on it and sending the answer."""

    @staticmethod
    def within(files: int | None) -> ConnectionLimits:
        """Limits that leave a quarter of the open files that are allowed to the rest of the hub, and at least 128.

        ``files`` None: nothing limits them.
        """
        if files is None:
            return ConnectionLimits()
        in_all = max(16, min(ConnectionLimits.in_all, files - max(128, files // 4)))
        return ConnectionLimits(in_all=in_all, per_address=max(8, min(ConnectionLimits.per_address, in_all // 4)))


class Connections:
    """Counts them, refuses those that are too many, and closes the idle ones."""

    def __init__(
        self,
        *,
        limits: ConnectionLimits | None = None,
        addresses: ClientAddresses | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or ConnectionLimits()
        self.refused = 0
        """Connections and requests that were too many, ever."""
        self._addresses = addresses or ClientAddresses()
        self._clock = clock
        self._open: dict[asyncio.BaseTransport, _Connection] = {}
        self._per_address: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        """Requests under way by client, which is not the address of a connection from a proxy."""

    def __len__(self) -> int:
        """Connections that are open."""
        return len(self._open)

    def before(self, make_handler: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """A factory of connections that are counted, for ``loop.create_server``; what is let in goes to a handler."""
        return lambda: _Connection(self, make_handler)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Notes which connections are at work, and for whom. The outermost one."""
        client = self._addresses.of(request)
        request[CLIENT] = client
        if self._requests[client] >= self.limits.per_address:
            self.refused += 1
            raise web.HTTPTooManyRequests(text="Too many requests at once from this address.\n")
        connection = self._open.get(cast(asyncio.BaseTransport, request.transport))
        self._requests[client] += 1
        if connection is not None:
            connection.begin_request(self._clock())
        try:
            response: web.StreamResponse = await handler(request)
            return response
        finally:
            if connection is not None:
                connection.end_request(self._clock())
            _less(self._requests, client)

    @asynccontextmanager
    async def closing_idle(self) -> AsyncIterator[None]:
        """Close what is idle for too long, for as long as the context lasts."""
        async with beside(self._close_idle_ones(), "idle connections"):
            yield

    def admit(self, connection: _Connection, transport: asyncio.Transport) -> bool:
        """Whether a new connection may stay; if so, it is counted."""
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        counted_as = "" if self._addresses.is_proxy(address) else counted(address)
        many = counted_as != "" and self._per_address[counted_as] >= self.limits.per_address
        if many or len(self._open) >= self.limits.in_all:
            self.refused += 1
            return False
        connection.admitted(counted_as, self._clock())
        self._open[transport] = connection
        self._per_address[counted_as] += 1
        return True

    def forget(self, connection: _Connection, transport: asyncio.Transport) -> None:
        """An admitted connection is closed."""
        if self._open.pop(transport, None) is not None:
            _less(self._per_address, connection.address)

    def close_idle(self) -> None:
        """One look at all of them."""
        now = self._clock()
        for connection in list(self._open.values()):
            connection.close_if_idle(now, self.limits)

    async def _close_idle_ones(self) -> None:
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self.limits.first_request_seconds))
            self.close_idle()


class _Connection(asyncio.Protocol):
    """Stands before aiohttp's handler of one connection, which gets everything if the connection is let in."""

    def __init__(self, connections: Connections, make_handler: Callable[[], asyncio.Protocol]) -> None:
        self.address = ""
        """As it was counted; empty for a trusted proxy's."""
        self._connections = connections
        self._make_handler = make_handler
        self._handler: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._at_work = False
        self._had_request = False
        self._since = 0.0
        """When it began what it does now: its request, or its idleness."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._connections.admit(self, self._transport):
            self._transport.write(_FULL)
            self._transport.close()
            return
        self._handler = self._make_handler()
        self._handler.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._handler is not None and self._transport is not None:
            self._connections.forget(self, self._transport)
            self._handler.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._handler is not None:
            self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._handler is None else self._handler.eof_received()

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        if self._handler is not None:
            self._handler.resume_writing()

    def admitted(self, address: str, now: float) -> None:
        self.address, self._since = address, now

    def begin_request(self, now: float) -> None:
        self._at_work, self._had_request, self._since = True, True, now

    def end_request(self, now: float) -> None:
        self._at_work, self._since = False, now

    def close_if_idle(self, now: float, limits: ConnectionLimits) -> None:
        """Close it if it has done nothing for too long, or does the same for ever."""
        assert self._transport is not None
        elapsed = now - self._since
        if self._at_work or self._transport.get_write_buffer_size():
            if elapsed > limits.request_seconds:
                self._transport.abort()  # Its handler is cancelled with it.
        elif elapsed > (limits.idle_seconds if self._had_request else limits.first_request_seconds):
            self._transport.close()


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]

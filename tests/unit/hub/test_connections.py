"""Connections over real sockets: counted by address, closed when idle, and never so many that others can't come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from rgym_exp.base.ports import free_port
from rgym_exp.hub.api import serving
from rgym_exp.hub.client_address import CLIENT, ClientAddresses, trusted_networks
from rgym_exp.hub.connections import ConnectionLimits, Connections


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Server:
    """An application that says whom it counts a request for, and one route that waits to be let go on."""

    def __init__(self, limits: ConnectionLimits, *, trusted: list[str]) -> None:
        self.clock = Clock()
        addresses = ClientAddresses(trusted_networks(trusted))
        self.connections = Connections(limits=limits, addresses=addresses, clock=self.clock)
        self.go_on = asyncio.Event()
        self.waiting = asyncio.Semaphore(0)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._open: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Server]:
        async def who(request: web.Request) -> web.Response:
            return web.Response(text=request[CLIENT])

        async def wait(request: web.Request) -> web.Response:
            self.waiting.release()
            await self.go_on.wait()
            return web.Response(text="done")

        app = web.Application()
        app.add_routes([web.get("/who", who), web.get("/wait", wait)])
        async with serving(app, "127.0.0.1", self.port, connections=self.connections):
            yield self
            for writer in self._open:
                writer.close()

    async def connect(self, address: str = "127.0.0.1") -> asyncio.StreamReader:
        """A connection that says nothing."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        self._open.append(writer)
        return reader

    async def ask(self, path: str = "/who", *, address: str = "127.0.0.1", forwarded: str = "") -> tuple[int, str]:
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        connector = aiohttp.TCPConnector(local_addr=(address, 0))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(self.url + path, headers=headers) as answer,
        ):
            return answer.status, await answer.text()

    async def until(self, count: int) -> None:
        """Return when so many connections are counted."""
        async with asyncio.timeout(10):
            while len(self.connections) != count:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def served(*, trusted: list[str] | None = None, **limits: int) -> AsyncIterator[Server]:
    async with Server(ConnectionLimits(**limits), trusted=trusted or []).serving() as server:
        yield server


async def test_an_address_with_too_many_connections_shuts_out_itself_and_nobody_else() -> None:
    async with served(per_address=3) as server:
        for _ in range(3):
            await server.connect()
        assert (await server.ask())[0] == 503
        assert await server.ask(address="127.0.0.2") == (200, "127.0.0.2")
        assert server.connections.refused == 1


async def test_all_together_are_no_more_than_files_allow_and_who_is_too_many_is_told_so() -> None:
    async with served(in_all=4, per_address=3) as server:
        for number in range(4):
            await server.connect(f"127.0.0.{1 + number}")
        refused = await server.connect("127.0.0.9")
        assert (await refused.read()).startswith(b"HTTP/1.1 503 ")


async def test_a_closed_connection_makes_room() -> None:
    async with served(per_address=1) as server:
        for _ in range(3):
            assert (await server.ask())[0] == 200
            await server.until(0)


async def test_who_connects_and_says_nothing_is_hung_up_on_and_who_waits_for_an_answer_is_not() -> None:
    async with served(first_request_seconds=15, idle_seconds=75) as server:
        silent = await server.connect()
        asking = asyncio.create_task(server.ask("/wait", address="127.0.0.2"))
        await server.waiting.acquire()
        server.clock.now += 16
        server.connections.close_idle()
        assert await silent.read() == b""
        server.go_on.set()
        assert await asking == (200, "done")


async def test_half_a_request_is_no_request() -> None:
    async with served(first_request_seconds=15) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /who HTTP/1.1\r\nHost: ")
        await writer.drain()
        await server.until(1)
        server.clock.now += 16
        server.connections.close_idle()
        with contextlib.suppress(ConnectionError):  # What it has sent was not read to the end.
            assert await reader.read() == b""
        assert len(server.connections) == 0
        writer.close()


async def test_between_two_requests_a_connection_may_rest_for_a_while() -> None:
    async with served(first_request_seconds=15, idle_seconds=75) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for seconds in (0, 60):
            server.clock.now += seconds
            server.connections.close_idle()
            writer.write(b"GET /who HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in await reader.readuntil(b"127.0.0.1")
        server.clock.now += 76
        server.connections.close_idle()
        assert await reader.read() == b""
        writer.close()


async def test_a_request_that_never_ends_is_ended() -> None:
    async with served(request_seconds=120) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.waiting.acquire()
        server.clock.now += 121
        server.connections.close_idle()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await server.until(0)
        writer.close()


async def test_behind_a_trusted_proxy_each_client_has_its_own_limit_and_the_proxy_none() -> None:
    async with served(per_address=2, trusted=["127.0.0.1"]) as server:
        waiting = [asyncio.create_task(server.ask("/wait", forwarded="1.1.1.1")) for _ in range(2)]
        for _ in waiting:
            await server.waiting.acquire()
        assert (await server.ask(forwarded="1.1.1.1"))[0] == 429
        assert await server.ask(forwarded="2.2.2.2") == (200, "2.2.2.2")
        server.go_on.set()
        assert await asyncio.gather(*waiting) == [(200, "done")] * 2
        assert await server.ask(forwarded="1.1.1.1") == (200, "1.1.1.1")


async def test_forty_nodes_behind_one_address_fit_with_the_usual_limits() -> None:
    async with served() as server:
        waiting = [asyncio.create_task(server.ask("/wait")) for _ in range(40)]
        for _ in range(40 * 4):
            await server.connect()
        for _ in waiting:
            await server.waiting.acquire()
        server.go_on.set()
        assert await asyncio.gather(*waiting) == [(200, "done")] * 40


@pytest.mark.parametrize(
    ("files", "in_all", "per_address"),
    [(None, 8192, 256), (1_000_000, 8192, 256), (1024, 768, 192), (256, 128, 32), (64, 16, 8)],
)
def test_connections_leave_files_to_the_rest_of_the_hub(files: int | None, in_all: int, per_address: int) -> None:
    limits = ConnectionLimits.within(files)
    assert (limits.in_all, limits.per_address) == (in_all, per_address)

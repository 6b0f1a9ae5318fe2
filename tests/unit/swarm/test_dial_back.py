"""What a bootnode finds out about a peer's addresses, whom it dials, and whom it tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from rgym_exp.swarm.dial_back import ReachabilityService, answers_as_peer, receive, send
from rgym_exp.swarm.multiaddrs import household_of, is_inside

Handle = Callable[[Any, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HOME = "/ip4/192.168.1.2/tcp/4001"


class Dials:
    """Notes who was dialled; what is in ``open`` answers."""

    def __init__(self, *open: tuple[str, int]) -> None:
        self.open = open
        self.made: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> bool:
        self.made.append((host, port))
        return (host, port) in self.open


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def ask(handle: Handle, message: object, *, peer: str = "QmA", address: str = "/ip4/203.0.113.7/tcp/9") -> object:
    """The answer to a message; None where the stream is closed without one."""
    info = SimpleNamespace(peer_id=peer, addr=address)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handle(info, reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await send(writer, message)
            return await receive(reader)
    except (EOFError, ConnectionError):
        return None
    finally:
        writer.close()
        server.close()


async def test_a_peer_is_dialled_at_its_own_ports_where_it_comes_from_and_nowhere_else() -> None:
    dials = Dials(("203.0.113.7", 4001))
    service = ReachabilityService(dial=dials)
    assert await ask(service.dial_back, [[4001, 4002], []]) == ["203.0.113.7", [4001], True]
    assert dials.made == [("203.0.113.7", 4001), ("203.0.113.7", 4002)]


async def test_one_that_comes_through_a_relay_is_not_dialled() -> None:
    dials = Dials()
    address = "/ip4/203.0.113.1/tcp/1/p2p/QmRelay/p2p-circuit"
    assert await ask(ReachabilityService(dial=dials).dial_back, [[4001], []], address=address) == ["", [], False]
    assert dials.made == []


async def test_an_address_is_dialled_only_so_often() -> None:
    dials, clock = Dials(("203.0.113.7", 4001)), Clock()
    service = ReachabilityService(dial=dials, clock=clock)
    assert await ask(service.dial_back, [[4001], []]) == ["203.0.113.7", [4001], True]
    assert await ask(service.dial_back, [[4001], []], peer="QmB") == ["203.0.113.7", [], False]
    clock.now = 5.0
    assert await ask(service.dial_back, [[4001], []], peer="QmB") == ["203.0.113.7", [4001], True]


@pytest.mark.parametrize(
    "message",
    [[[22], []], [[70000], []], [[4001, 4002, 4003], []], [["4001"], []], [[4001]], "4001", [[True], []], {"a": 1}],
)
async def test_other_requests_are_refused_and_nobody_is_dialled(message: object) -> None:
    dials = Dials()
    assert await ask(ReachabilityService(dial=dials).dial_back, message) is None
    assert dials.made == []


async def test_addresses_at_home_are_told_to_those_in_the_same_home_alone() -> None:
    service = ReachabilityService(dial=Dials())
    await ask(service.dial_back, [[4001], [HOME]], peer="QmA")
    assert await ask(service.tell_addresses, "QmA", peer="QmNeighbour") == [HOME]
    assert await ask(service.tell_addresses, "QmA", peer="QmStranger", address="/ip4/198.51.100.1/tcp/9") == []
    assert await ask(service.tell_addresses, "QmUnknown") == []


async def test_a_peer_that_was_reached_is_told_to_everybody() -> None:
    service = ReachabilityService(dial=Dials(("203.0.113.7", 4001)))
    await ask(service.dial_back, [[4001], [HOME]], peer="QmA")
    told = await ask(service.tell_addresses, "QmA", peer="QmStranger", address="/ip4/198.51.100.1/tcp/9")
    assert told == ["/ip4/203.0.113.7/tcp/4001"]


async def test_what_was_found_is_forgotten_after_a_while() -> None:
    clock = Clock()
    service = ReachabilityService(dial=Dials(("203.0.113.7", 4001)), clock=clock)
    await ask(service.dial_back, [[4001], []])
    clock.now = 3600.0
    assert await ask(service.tell_addresses, "QmA") == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (HOME, True),
        ("/ip6/fd12:3456::7/tcp/4001", True),
        ("/ip4/127.0.0.1/tcp/4001", False),  # everybody's own machine
        ("/ip4/203.0.114.1/tcp/4001", False),  # in public: found by dialling, not by somebody's word
        ("/ip4/192.168.1.1/tcp/80", False),  # a router's page
        ("/ip4/fd12::1/tcp/4001", False),
        ("/dns4/example.org/tcp/4001", False),
        ("/ip4/192.168.1.2/tcp/4001/p2p/QmX", False),
        ("/ip4/192.168.1.2/udp/4001", False),
        ("nonsense", False),
    ],
)
def test_only_a_tcp_address_of_a_homes_own_network_is_passed_on(address: str, expected: bool) -> None:
    assert is_inside(address) is expected


def test_a_household_is_one_ipv4_address_or_64_bits_of_ipv6() -> None:
    assert household_of("203.0.113.7") == "203.0.113.7"
    assert household_of("2001:db8:1:2:3::4") == household_of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"


async def test_a_peer_that_opens_many_streams_is_let_go() -> None:
    service = ReachabilityService(dial=Dials())
    greedy: Any = SimpleNamespace(peer_id="QmGreedy", addr="/ip4/203.0.113.7/tcp/9")
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(service._streams.one(greedy))
        assert await ask(service.dial_back, [[4001], []], peer="QmGreedy") is None
        assert await ask(service.dial_back, [[4001], []], peer="QmOther") == ["203.0.113.7", [], True]


async def test_a_port_where_something_else_answers_is_no_peer() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(web, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert not await answers_as_peer("127.0.0.1", port)
    server.close()
    await server.wait_closed()
    assert not await answers_as_peer("127.0.0.1", port)

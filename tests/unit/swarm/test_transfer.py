"""Share bytes by digest: the store, and a server that strangers can't hold up."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from rgym_exp.swarm import transfer
from rgym_exp.swarm.refused import FetchFailed
from rgym_exp.swarm.streams import StreamCounter
from rgym_exp.swarm.transfer import BUSY, HERE, NOT_HERE, ShareServer, ShareStore, fetch_share


def digest_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_a_share_is_found_by_its_digest() -> None:
    store = ShareStore()
    assert store.put(4, b"share") == digest_of(b"share").hex()
    assert store.get(digest_of(b"share")) == b"share"
    assert store.get(digest_of(b"other")) is None


def test_only_the_last_three_rounds_are_kept() -> None:
    store = ShareStore()
    for round in range(5):
        store.put(round, b"%d" % round)
    assert [store.get(digest_of(b"%d" % round)) is not None for round in range(5)] == [False, False, True, True, True]


def test_a_round_has_one_share() -> None:
    store = ShareStore()
    store.put(4, b"first")
    store.put(4, b"second")
    assert store.get(digest_of(b"first")) is None
    assert store.get(digest_of(b"second")) == b"second"


class Connection:
    """A client's end of a socket to a ``ShareServer``."""

    def __init__(self, server: ShareServer, peer_id: str, address: str = "/ip4/203.0.113.7/tcp/1") -> None:
        self._server = server
        self._info = SimpleNamespace(peer_id=peer_id, addr=address)

    async def __aenter__(self) -> Connection:
        self.answered = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._server.answer(self._info, reader, writer)
            self.answered.set()

        self._listener = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        self._listener.close()

    async def ask(self, digest: bytes) -> bytes:
        self.writer.write(digest)
        return await self.reader.read()


@pytest.fixture
def server() -> ShareServer:
    store = ShareStore()
    store.put(1, b"share" * 100_000)
    return ShareServer(store)


async def test_a_request_is_answered_with_status_length_and_bytes(server: ShareServer) -> None:
    data = b"share" * 100_000
    async with Connection(server, "QmA") as connection:
        answer = await connection.ask(digest_of(data))
    assert answer == HERE + len(data).to_bytes(4, "big") + data


async def test_an_unknown_digest_is_answered_with_not_here(server: ShareServer) -> None:
    async with Connection(server, "QmA") as connection:
        assert await connection.ask(bytes(32)) == NOT_HERE


async def test_who_has_too_many_streams_is_told_to_come_later_at_once(server: ShareServer) -> None:
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        for _ in range(4):
            await stack.enter_async_context(Connection(server, "QmGreedy"))
        while server._streams.admitted < 4:
            await asyncio.sleep(0.01)
        async with Connection(server, "QmGreedy") as fifth:
            assert await fifth.reader.read() == BUSY  # before it has asked for anything
        async with Connection(server, "QmOther") as other:
            assert (await other.ask(digest_of(b"share" * 100_000)))[:1] == HERE


async def test_streams_that_were_refused_take_no_room_from_others() -> None:
    server = ShareServer(ShareStore(), StreamCounter(total=3, per_peer=1, per_household=2))
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        await stack.enter_async_context(Connection(server, "QmGreedy"))
        while not server._streams.admitted:
            await asyncio.sleep(0.01)
        refused = [await stack.enter_async_context(Connection(server, "QmGreedy")) for _ in range(5)]
        for connection in refused:
            await connection.answered.wait()
        async with Connection(server, "QmOther") as other:
            assert await other.ask(bytes(32)) == NOT_HERE


async def test_many_identities_of_one_household_leave_room_for_others() -> None:
    server = ShareServer(ShareStore(), StreamCounter(total=3, per_peer=1, per_household=2))
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        for number in range(2):
            await stack.enter_async_context(Connection(server, f"Qm{number}"))
        while server._streams.admitted < 2:
            await asyncio.sleep(0.01)
        async with Connection(server, "Qm3") as third:
            assert await third.reader.read() == BUSY
        async with Connection(server, "QmOther", "/ip4/203.0.113.8/tcp/1") as other:
            assert await other.ask(bytes(32)) == NOT_HERE


async def test_sixteen_nodes_of_one_home_are_answered_at_once(server: ShareServer) -> None:
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        home = [await stack.enter_async_context(Connection(server, f"Qm{number}")) for number in range(16)]
        while server._streams.admitted < 16:
            await asyncio.sleep(0.01)
        answers = await asyncio.gather(*(node.ask(digest_of(b"share" * 100_000)) for node in home))
    assert {answer[:1] for answer in answers} == {HERE}


async def test_beyond_the_streams_that_it_serves_at_once_everybody_is_told_to_come_later(server: ShareServer) -> None:
    server = ShareServer(server._store, StreamCounter(total=2, per_peer=4, per_household=4))
    digest = digest_of(b"share" * 100_000)
    async with Connection(server, "QmA"), Connection(server, "QmB") as second, asyncio.timeout(20):
        while server._streams.admitted < 2:
            await asyncio.sleep(0.01)
        async with Connection(server, "QmC") as third:
            assert await third.reader.read() == BUSY
        assert (await second.ask(digest))[:1] == HERE
        await second.answered.wait()
        async with Connection(server, "QmC") as third:
            assert (await third.ask(digest))[:1] == HERE


async def test_a_peer_that_asks_nothing_is_let_go(server: ShareServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_REQUEST_SECONDS", 0.1)
    async with Connection(server, "QmSilent") as connection, asyncio.timeout(10):
        assert await connection.reader.read() == b""
        await connection.answered.wait()
    assert not server._streams.admitted


async def test_a_peer_that_breaks_off_is_let_go(server: ShareServer) -> None:
    async with Connection(server, "QmRude") as connection, asyncio.timeout(10):
        connection.writer.write(b"half a digest")
        connection.writer.close()
        await connection.answered.wait()
    assert not server._streams.admitted


async def test_a_peer_that_reads_nothing_is_let_go(server: ShareServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_SEND_SECONDS", 0.2)
    server._store.put(1, bytes(64_000_000))  # more than the socket's buffers take
    async with Connection(server, "QmStuck") as connection, asyncio.timeout(10):
        connection.writer.write(digest_of(bytes(64_000_000)))
        await connection.answered.wait()
    assert not server._streams.admitted


async def test_what_was_announced_as_too_large_is_not_asked_for() -> None:
    nobody: Any = None
    with pytest.raises(FetchFailed, match="share_too_large"):
        await fetch_share(nobody, "QmA", "ab" * 32, size=101, max_bytes=100, timeout_seconds=5)

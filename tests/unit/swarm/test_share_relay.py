"""A bootnode that passes shares on, and what nobody can make it do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hivemind.p2p import PeerID

from rgym_exp.swarm.refused import FetchFailed
from rgym_exp.swarm.share_relay import ByteBudget, RelayLimits, ShareRelay
from rgym_exp.swarm.transfer import BUSY, HERE, NOT_HERE, UNREACHABLE, via_request

AUTHOR = "QmeqXnY6nKNNvsgLVY39mNFBkW9FM354awRUZrL6b1jmZa"
DATA = b"share" * 1000
DIGEST = hashlib.sha256(DATA).digest()


class Author:
    """A ``ShareSource`` with one share of one author, which can be held back."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.breaks_off = False

    async def fetch(self, author: PeerID, digest: bytes, take: Callable[[int, bytes], None]) -> None:
        self.asked += 1
        await self.may_answer.wait()
        if author.to_base58() != AUTHOR:
            raise FetchFailed("fetch_unreachable")
        if digest != DIGEST:
            raise FetchFailed("fetch_not_here")
        take(len(DATA), DATA[:1000])
        await self.may_go_on.wait()
        if self.breaks_off:
            raise FetchFailed("fetch_failed")
        take(len(DATA), DATA[1000:])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def ask(
    relay: ShareRelay,
    request: bytes,
    *,
    asker: str = "QmAsker",
    address: str = "/ip4/203.0.113.7/tcp/1",
    on_first_bytes: Callable[[], None] | None = None,
) -> bytes:
    """What the relay answers to the bytes of a request."""
    info = SimpleNamespace(peer_id=asker, addr=address)
    over = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await relay.answer(info, reader, writer)
        over.set()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        answer = await reader.read(1)
        if on_first_bytes is not None:
            on_first_bytes()
        answer += await reader.read()
        await over.wait()
    writer.close()
    server.close()
    return answer


REQUEST = via_request(DIGEST, AUTHOR)
ANSWER = HERE + len(DATA).to_bytes(4, "big") + DATA


async def test_a_share_is_passed_on_as_its_author_would_send_it() -> None:
    relay = ShareRelay(Author())
    assert await ask(relay, REQUEST) == ANSWER
    assert relay.bytes_passed_on == len(DATA)


async def test_an_author_sends_a_share_once_for_all_who_ask() -> None:
    author = Author()
    author.may_answer.clear()
    relay = ShareRelay(author)
    asking = [asyncio.create_task(ask(relay, REQUEST, asker=f"Qm{number}")) for number in range(3)]
    while not author.asked:
        await asyncio.sleep(0.01)
    author.may_answer.set()
    assert await asyncio.gather(*asking) == 3 * [ANSWER]
    assert await ask(relay, REQUEST, asker="QmLate") == ANSWER
    assert author.asked == 1


async def test_bytes_are_passed_on_as_they_come() -> None:
    author = Author()
    author.may_go_on.clear()
    # The author sends the rest only when the first bytes are at their destination.
    assert await ask(ShareRelay(author), REQUEST, on_first_bytes=author.may_go_on.set) == ANSWER


async def test_an_author_that_breaks_off_ends_the_stream_and_is_asked_anew() -> None:
    author = Author()
    author.breaks_off = True
    relay = ShareRelay(author)
    assert await ask(relay, REQUEST) == ANSWER[: 1 + 4 + 1000]
    author.breaks_off = False
    assert await ask(relay, REQUEST) == ANSWER


async def test_what_the_author_lacks_or_a_stranger_would_serve_is_said_by_a_status() -> None:
    relay = ShareRelay(Author())
    assert await ask(relay, via_request(bytes(32), AUTHOR)) == NOT_HERE
    other = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
    assert await ask(relay, via_request(DIGEST, other)) == UNREACHABLE


@pytest.mark.parametrize("author_bytes", [b"\x05hello", b"\x02\xff\xfe", b"\x00", b"\x2e" + 46 * b"\xff"])
async def test_nonsense_costs_a_closed_stream(author_bytes: bytes) -> None:
    author = Author()
    assert await ask(ShareRelay(author), DIGEST + author_bytes) == b""
    assert author.asked == 0


async def test_an_author_that_hangs_is_given_up() -> None:
    author = Author()
    author.may_answer.clear()
    relay = ShareRelay(author, replace(RelayLimits(), begin_seconds=0.1))
    assert await ask(relay, REQUEST) == UNREACHABLE


async def test_who_asks_for_too_many_at_once_is_told_to_come_later_and_others_are_not() -> None:
    author = Author()
    author.may_answer.clear()
    relay = ShareRelay(author, replace(RelayLimits(), streams_per_asker=1))
    first = asyncio.create_task(ask(relay, REQUEST, asker="QmGreedy"))
    while not author.asked:
        await asyncio.sleep(0.01)
    assert await ask(relay, REQUEST, asker="QmGreedy") == BUSY
    other = asyncio.create_task(ask(relay, REQUEST, asker="QmOther"))
    author.may_answer.set()
    assert await asyncio.gather(first, other) == [ANSWER, ANSWER]


async def test_an_address_that_used_up_its_bytes_waits_until_they_are_refilled() -> None:
    clock = Clock()
    limits = replace(RelayLimits(), asker_bytes_per_second=len(DATA), asker_burst_bytes=len(DATA))
    relay = ShareRelay(Author(), limits, clock=clock)
    assert await ask(relay, REQUEST, asker="QmA") == ANSWER
    # Another identity at the same address has no bytes of its own.
    assert await ask(relay, REQUEST, asker="QmB") == BUSY
    assert await ask(relay, REQUEST, asker="QmC", address="/ip4/203.0.113.8/tcp/1") == ANSWER
    clock.now = 0.5
    assert await ask(relay, REQUEST, asker="QmA") == ANSWER


async def test_all_together_cannot_take_more_than_the_hosts_share_of_its_line() -> None:
    limits = replace(RelayLimits(), bytes_per_second=1, burst_bytes=len(DATA))
    relay = ShareRelay(Author(), limits, clock=Clock())
    assert await ask(relay, REQUEST, address="/ip4/203.0.113.1/tcp/1") == ANSWER
    assert await ask(relay, REQUEST, address="/ip4/203.0.113.2/tcp/1") == BUSY


async def test_kept_shares_and_remembered_askers_are_bounded() -> None:
    author = Author()
    relay = ShareRelay(author, replace(RelayLimits(), kept_bytes=len(DATA) - 1, askers_remembered=2), clock=Clock())
    for number in range(4):
        assert await ask(relay, REQUEST, address=f"/ip4/203.0.113.{number}/tcp/1") == ANSWER
    assert author.asked == 4
    assert len(relay._budgets) <= 2


def test_a_budget_is_refilled_by_the_second_up_to_its_burst() -> None:
    clock = Clock()
    budget = ByteBudget(per_second=10, burst=100, clock=clock)
    budget.take(150)
    assert budget.is_spent
    clock.now = 5.0
    assert budget.is_spent  # exactly nothing is left
    clock.now = 5.1
    assert not budget.is_spent
    clock.now = 1000.0
    assert budget.is_full

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
from rgym_exp.swarm.share_relay import RelayLimits, ShareRelay
from rgym_exp.swarm.transfer import BUSY, HERE, NOT_HERE, UNREACHABLE, via_request

AUTHOR = "QmeqXnY6nKNNvsgLVY39mNFBkW9FM354awRUZrL6b1jmZa"
DATA = b"share" * 1000
DIGEST = hashlib.sha256(DATA).digest()


class Author:
    """A ``ShareSource`` with one share of one author, which can be held back."""

    def __init__(self) -> None:
        self.asked = 0
        self.given_up = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.breaks_off = False

    async def fetch(self, author: PeerID, digest: bytes, take: Callable[[int, bytes], None]) -> None:
        self.asked += 1
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        if author.to_base58() != AUTHOR:
            raise FetchFailed("fetch_unreachable")
        if digest != DIGEST:
            raise FetchFailed("fetch_not_here")
        take(len(DATA), DATA[:1000])
        await self.may_go_on.wait()
        if self.breaks_off:
            raise FetchFailed("fetch_failed")
        take(len(DATA), DATA[1000:])


class SlowAuthors:
    """A ``ShareSource`` whose authors have every share, of 1000 bytes, and send but the first ones."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def fetch(self, author: PeerID, digest: bytes, take: Callable[[int, bytes], None]) -> None:
        take(1000, b"begin")
        await self.may_end.wait()
        raise FetchFailed("fetch_failed")


def share_number(number: int) -> bytes:
    """A request for one of many."""
    return via_request(bytes([number]) * 32, AUTHOR)


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
    assert await ask(relay, b"", asker="QmGreedy") == BUSY  # before it has said what it wants
    other = asyncio.create_task(ask(relay, REQUEST, asker="QmOther"))
    author.may_answer.set()
    assert await asyncio.gather(first, other) == [ANSWER, ANSWER]


async def test_many_identities_of_one_household_leave_room_for_others() -> None:
    author = Author()
    author.may_answer.clear()
    relay = ShareRelay(author, replace(RelayLimits(), streams=3, streams_per_asker=1, streams_per_household=2))
    asking = [asyncio.create_task(ask(relay, REQUEST, asker=f"Qm{number}")) for number in range(2)]
    while relay._streams.admitted < 2:
        await asyncio.sleep(0.01)
    for number in range(2, 6):
        assert await ask(relay, b"", asker=f"Qm{number}") == BUSY
    asking.append(asyncio.create_task(ask(relay, REQUEST, asker="QmOther", address="/ip4/203.0.113.8/tcp/1")))
    while relay._streams.admitted < 3:
        await asyncio.sleep(0.01)
    author.may_answer.set()
    assert await asyncio.gather(*asking) == 3 * [ANSWER]


async def test_sixteen_nodes_of_one_home_are_served_four_shares_each_at_once() -> None:
    author = Author()
    author.may_answer.clear()
    relay = ShareRelay(author, clock=Clock())
    asking = [asyncio.create_task(ask(relay, REQUEST, asker=f"Qm{number % 16}")) for number in range(64)]
    while relay._streams.admitted < 64:
        await asyncio.sleep(0.01)
    author.may_answer.set()
    assert await asyncio.gather(*asking) == 64 * [ANSWER]


async def test_requests_that_bring_nothing_cost_their_household_too() -> None:
    limits = replace(RelayLimits(), asker_bytes_per_second=0, asker_burst_bytes=200, request_bytes=100)
    relay = ShareRelay(Author(), limits, clock=Clock())
    missing = via_request(bytes(32), AUTHOR)
    assert await ask(relay, missing, asker="QmA") == NOT_HERE
    assert await ask(relay, missing[:-1] + b"\xff", asker="QmB") == b""
    assert await ask(relay, missing, asker="QmC") == BUSY
    assert await ask(relay, missing, address="/ip4/203.0.113.8/tcp/1") == NOT_HERE


async def test_an_author_is_asked_no_longer_than_somebody_waits_for_its_share() -> None:
    author = Author()
    author.may_answer.clear()
    relay = ShareRelay(author, replace(RelayLimits(), begin_seconds=0.1))
    assert await ask(relay, REQUEST) == UNREACHABLE
    async with asyncio.timeout(5):
        await author.given_up.wait()
    author.may_answer.set()
    assert await ask(relay, REQUEST) == ANSWER


@pytest.mark.parametrize(("total", "second_of_a_home", "third_home"), [(2500, BUSY, BUSY), (3500, BUSY, HERE)])
async def test_one_household_and_all_together_have_so_many_bytes_in_transit(
    total: int, second_of_a_home: bytes, third_home: bytes
) -> None:
    source = SlowAuthors()
    limits = replace(RelayLimits(), asker_in_transit_bytes=1500, in_transit_bytes=total, begin_seconds=5)
    relay = ShareRelay(source, limits)
    held = []
    for house in (1, 2):
        begun = asyncio.Event()
        work = ask(relay, share_number(house), address=f"/ip4/203.0.113.{house}/tcp/1", on_first_bytes=begun.set)
        held.append(asyncio.create_task(work))
        await begun.wait()
    for request, house, status in ((3, 1, second_of_a_home), (4, 3, third_home)):
        begun = asyncio.Event()
        work = ask(relay, share_number(request), address=f"/ip4/203.0.113.{house}/tcp/1", on_first_bytes=begun.set)
        asked = asyncio.create_task(work)
        await begun.wait()
        if status == BUSY:
            assert await asked == BUSY
        else:
            held.append(asked)
    source.may_end.set()
    # Each gets what came of it; and when they have gone there is room again.
    assert [answer[:5] for answer in await asyncio.gather(*held)] == len(held) * [HERE + (1000).to_bytes(4, "big")]
    assert (await ask(relay, share_number(5)))[:1] == HERE


async def test_a_household_cannot_ask_much_at_once_before_it_is_charged() -> None:
    author = Author()
    author.may_answer.clear()
    limits = replace(RelayLimits(), asker_bytes_per_second=0, asker_burst_bytes=len(DATA), request_bytes=1)
    relay = ShareRelay(author, limits, clock=Clock())
    asking = [asyncio.create_task(ask(relay, REQUEST, asker=f"Qm{number}")) for number in range(8)]
    while relay._streams.admitted < 8 or not author.asked:
        await asyncio.sleep(0.01)
    author.may_answer.set()
    assert sorted(len(answer) for answer in await asyncio.gather(*asking)) == [*7 * [1], len(ANSWER)]


async def test_an_address_that_used_up_its_bytes_waits_until_they_are_refilled() -> None:
    clock = Clock()
    limits = replace(RelayLimits(), asker_bytes_per_second=len(DATA), asker_burst_bytes=len(DATA), request_bytes=100)
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

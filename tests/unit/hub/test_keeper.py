"""When a round is over, and how the keeper gets through hiccups."""

from __future__ import annotations

import asyncio

import pytest

from rgym_exp.errors import SwarmUserError
from rgym_exp.hub.keeper import Keeper, RoundLimits
from rgym_exp.swarm.publishing import leave_notice
from rgym_exp.swarm.shards import EVERYBODY, Slice
from rgym_exp.types import Announcement
from tests.unit.hub.activity_builders import announcement

LIMITS = RoundLimits(longest=120.0, shortest=2.0)


class ListedRecords:
    """A DHT in memory that says when it was read."""

    def __init__(self) -> None:
        self.announcements: list[Announcement] = []
        self.reads = asyncio.Event()
        self.round: int | None = None

    def set_round(self, round_number: int) -> None:
        self.round = round_number

    level = 0

    async def read(self, round: int, part: Slice = EVERYBODY) -> list[Announcement]:
        self.reads.set()
        return [one for one in self.announcements if one.listed == round and part.covers(one.peer_id, round)]

    async def survey(self, round: int, *, sweep: bool = False) -> list[Announcement]:
        return []


class CountingClient:
    """A contract in memory whose chain can be away, and whose answers can get lost."""

    def __init__(self, round: int = 0) -> None:
        self.round = round
        self.away = 0
        self.lose_answer = False
        self.advances = 0

    def round_and_stage(self) -> tuple[int, int]:
        if self.away:
            self.away -= 1
            raise SwarmUserError("The chain does not answer.")
        return self.round, 0

    def advance_round(self) -> None:
        self.advances += 1
        self.round += 1
        if self.lose_answer:
            self.lose_answer = False
            raise SwarmUserError("The chain does not answer.")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def keeper_with(client: CountingClient, records: ListedRecords, clock: Clock) -> Keeper:
    return Keeper(client=client, records=records, limits=LIMITS, poll_seconds=0.01, clock=clock)


async def test_a_round_everybody_announced_is_advanced_once() -> None:
    client, records, clock = CountingClient(), ListedRecords(), Clock()
    keeper = keeper_with(client, records, clock)
    records.announcements = [announcement("a", 0)]
    assert not await keeper.look()
    clock.now += 3
    assert await keeper.look()
    assert not await keeper.look()
    assert (client.round, keeper.round, records.round) == (1, 1, 1)


async def test_the_round_of_a_peer_that_was_alone_ends_although_it_has_left() -> None:
    client, records, clock = CountingClient(), ListedRecords(), Clock()
    keeper = keeper_with(client, records, clock)
    # The leave notice takes the place of the announcement before the round was long enough to end.
    records.announcements = [
        leave_notice(announcement("a", 0), round=0, now=1.0),
        leave_notice(announcement("a", 0), round=1, now=1.0),
    ]
    await keeper.look()
    clock.now += 3
    assert await keeper.look()
    clock.now += 300
    assert not await keeper.look()
    assert keeper.round == 1


async def test_the_round_ends_without_a_peer_that_published_a_leave_notice() -> None:
    client, records, clock = CountingClient(), ListedRecords(), Clock()
    keeper = keeper_with(client, records, clock)
    records.announcements = [announcement("a", 0), announcement("b", 0)]
    await keeper.look()
    clock.now += 3
    assert await keeper.look()
    records.announcements = [announcement("a", 1)]
    clock.now += 3
    assert not await keeper.look()
    records.announcements.append(leave_notice(announcement("b", 0), round=1, now=1.0))
    assert await keeper.look()


async def play(keeper: Keeper, records: ListedRecords, clock: Clock, seconds: dict[str, float]) -> float:
    """Have a round in which each peer announces after so many seconds; how long the round takes."""
    began, round = clock.now, keeper.round
    while True:
        elapsed = clock.now - began
        records.announcements += [announcement(peer, round) for peer, after in seconds.items() if after == elapsed]
        if await keeper.look():
            return elapsed
        clock.now += 0.5


async def test_a_round_ends_when_all_active_peers_announced_and_else_by_the_pace_of_half_of_them() -> None:
    client, records, clock = CountingClient(), ListedRecords(), Clock()
    keeper = keeper_with(client, records, clock)
    await keeper.look()
    everybody = dict.fromkeys("abcd", 5.0)
    assert await play(keeper, records, clock, everybody) == 5.0
    unequal = {"a": 6.0, "b": 6.0, "c": 8.0, "d": 9.0}
    assert [await play(keeper, records, clock, unequal) for _ in range(3)] == [9.0, 9.0, 9.0]
    dead = {"a": 6.0, "b": 6.0, "c": 8.0}  # the fourth died: 1.25 x 6 s + 2 s, and then less and less
    assert [await play(keeper, records, clock, dead) for _ in range(5)] == [9.5, 9.0, 8.5, 8.0, 8.0]


async def test_a_round_that_nobody_announces_never_ends_and_the_limit_ends_any_other() -> None:
    client, records, clock = CountingClient(), ListedRecords(), Clock()
    keeper = keeper_with(client, records, clock)
    await keeper.look()
    records.announcements = [announcement(peer, 0) for peer in "abcd"]
    clock.now += 3
    assert await keeper.look()
    clock.now += 10_000
    assert not await keeper.look()
    records.announcements.append(announcement("a", 1))  # one of four
    assert await keeper.look()
    # Those who were waited for in vain have no say any more.
    assert keeper.active == 1


async def test_a_restarted_keeper_waits_for_those_who_were_active_before() -> None:
    client, records, clock = CountingClient(round=7), ListedRecords(), Clock()
    records.announcements = [announcement("a", 6), announcement("b", 6)]
    keeper = keeper_with(client, records, clock)
    await keeper.look()
    records.announcements.append(announcement("a", 7))
    clock.now += 10
    assert not await keeper.look()
    clock.now += 4.4  # 1.25 x 10 s + 2 s are nearly over
    assert not await keeper.look()
    records.announcements.append(announcement("b", 7))
    assert await keeper.look()


async def test_an_advance_whose_answer_got_lost_is_not_repeated() -> None:
    client, records, clock = CountingClient(), ListedRecords(), Clock()
    keeper = keeper_with(client, records, clock)
    records.announcements = [announcement("a", 0)]
    await keeper.look()
    clock.now += 3
    client.lose_answer = True
    with pytest.raises(SwarmUserError):
        await keeper.look()
    await keeper.look()
    clock.now += 1
    await keeper.look()
    assert (client.advances, client.round, keeper.round) == (1, 1, 1)


async def test_a_keeper_that_learned_the_round_knows_it_before_it_is_at_work() -> None:
    keeper = keeper_with(CountingClient(round=7), ListedRecords(), Clock())
    await keeper.learn_round()
    assert (keeper.round, keeper.outage.trouble) == (7, None)


async def test_a_keeper_that_could_not_learn_the_round_says_why_and_asks_again_at_work() -> None:
    client = CountingClient(round=7)
    keeper = keeper_with(client, ListedRecords(), Clock())
    client.away = 1
    await keeper.learn_round()
    assert keeper.round == -1 and keeper.outage.trouble is not None and "does not answer" in keeper.outage.trouble
    await keeper.look()
    assert keeper.round == 7


async def test_a_keeper_waits_out_a_chain_that_is_away_and_says_so_meanwhile() -> None:
    client, records, clock = CountingClient(), ListedRecords(), Clock()
    keeper = keeper_with(client, records, clock)
    client.away = 2
    keeping = asyncio.create_task(keeper.run())
    try:
        while keeper.outage.trouble is None:
            await asyncio.sleep(0)
        assert "does not answer" in keeper.outage.trouble
        await asyncio.wait_for(records.reads.wait(), 10)
        while keeper.outage.trouble is not None:
            await asyncio.sleep(0)
        assert keeper.round == 0
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

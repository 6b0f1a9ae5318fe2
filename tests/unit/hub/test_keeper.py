"""When a round is over, and how the keeper gets through hiccups."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rgym_exp.errors import SwarmUserError
from rgym_exp.hub.keeper import Keeper, RoundLimits, should_advance
from rgym_exp.hub.peer_activity import ACTIVE_ROUNDS, MAX_PEERS, PeerActivity
from rgym_exp.swarm.publishing import leave_notice
from rgym_exp.types import Announcement

LIMITS = RoundLimits(longest=120.0, shortest=2.0)


def announcement(peer_id: str, round: int) -> Announcement:
    return Announcement(
        swarm_id="s",
        round=round,
        listed=round,
        peer_id=peer_id,
        share_digest="0" * 64,
        share_size=1,
        group_count=1,
        tasks_digest="d",
        model_name="m",
        account="",
        mean_reward=0.5,
        time=0.0,
    )


@pytest.mark.parametrize(
    ("elapsed", "active", "announced", "over"),
    [
        pytest.param(1e9, {}, set(), False, id="nobody was ever there: an empty swarm stands still"),
        pytest.param(1e9, {"a": 0}, set(), False, id="everybody has left: the round waits for somebody to come"),
        pytest.param(5, {}, {"a"}, True, id="the first peer of a new swarm is done"),
        pytest.param(1.9, {}, {"a"}, False, id="done, but the round would be shorter than the minimum"),
        pytest.param(2.0, {}, {"a"}, True, id="done and the minimum is reached"),
        pytest.param(5, {"a": 0, "b": 0}, {"a", "b"}, True, id="all active peers have announced"),
        pytest.param(119, {"a": 0, "b": 0}, {"a"}, False, id="an active peer is missing"),
        pytest.param(120, {"a": 0, "b": 0}, {"a"}, True, id="the limit ends the round without the missing one"),
        pytest.param(59, {"a": 0, "b": 1}, {"a"}, False, id="one that missed a round is waited for half as long"),
        pytest.param(60, {"a": 0, "b": 1}, {"a"}, True, id="and no longer"),
        pytest.param(30, {"a": 0, "b": 2}, {"a"}, True, id="after two misses a quarter"),
        pytest.param(61, {"a": 0, "b": 1, "c": 0}, {"a"}, False, id="the most trusted of the missing decides"),
        pytest.param(5, {"a": 0}, {"a", "new"}, True, id="a newcomer that announced doesn't hold anybody up"),
    ],
)
def test_a_round_is_over(elapsed: float, active: dict[str, int], announced: set[str], over: bool) -> None:
    now = 1000.0
    assert (
        should_advance(now=now, round_started=now - elapsed, active=active, announced=announced, limits=LIMITS) is over
    )


def test_a_peer_stays_active_for_three_rounds_after_its_last_announcement() -> None:
    activity = PeerActivity()
    activity.record([announcement("a", 4), announcement("b", 5), announcement("c", 6)])
    assert activity.missed(7) == {"c": 0, "b": 1, "a": 2}
    assert activity.missed(8) == {"c": 1, "b": 2}


def test_a_peer_that_publishes_a_leave_notice_is_waited_for_no_more() -> None:
    activity = PeerActivity()
    activity.record([announcement("a", 4), announcement("b", 4), announcement("b", 5)])
    activity.record([leave_notice(announcement("b", 5), round=6, now=1.0)])
    assert (activity.missed(5), activity.missed(6)) == ({"a": 0}, {"a": 1})
    assert activity.announced(6) == frozenset()
    assert [newest.peer_id for newest in activity.newest()] == ["a"]


def test_who_left_after_its_part_of_the_round_has_done_it_even_if_only_the_leave_notice_was_seen() -> None:
    activity = PeerActivity()
    activity.record([leave_notice(announcement("a", 5), round=5, now=1.0)])
    assert activity.announced(5) == {"a"}
    assert activity.missed(6) == {}


def test_a_dht_that_still_shows_what_was_before_the_leave_notice_changes_nothing() -> None:
    activity = PeerActivity()
    activity.record([announcement("a", 5)])
    for _ in range(2):
        activity.record([leave_notice(announcement("a", 5), round=5, now=1.0)])
        activity.record([announcement("a", 5)])
    assert activity.missed(6) == {}


@pytest.mark.parametrize(
    ("round", "seconds_later"),
    [pytest.param(5, 1.0, id="in the same round"), pytest.param(6, -1e6, id="later, with a clock that was set back")],
)
def test_a_peer_that_came_back_counts_again(round: int, seconds_later: float) -> None:
    activity = PeerActivity()
    activity.record([announcement("a", 5)])
    notice = leave_notice(announcement("a", 5), round=5, now=1.0)
    activity.record([notice])
    activity.record([replace(announcement("a", round), time=notice.time + seconds_later)])
    assert activity.announced(round) == {"a"}


def test_leave_notices_are_forgotten_and_fill_no_memory() -> None:
    activity = PeerActivity()
    activity.record(leave_notice(announcement(f"peer{number}", 1), round=1, now=1.0) for number in range(MAX_PEERS))
    activity.record([announcement("newcomer", 1), leave_notice(announcement("another", 1), round=1, now=1.0)])
    assert len(activity.announced(1)) == MAX_PEERS
    activity.forget_before(1 + ACTIVE_ROUNDS + 1)
    activity.record([announcement("newcomer", 1)])
    assert activity.announced(1) == {"newcomer"}


def test_peer_activity_forgets_what_no_longer_counts() -> None:
    activity = PeerActivity()
    activity.record(announcement("a", round) for round in range(10))
    activity.record([announcement("gone", 2)])
    activity.forget_before(10)
    assert [newest.peer_id for newest in activity.newest()] == ["a"]
    assert activity.announced(10 - ACTIVE_ROUNDS) == {"a"}
    assert activity.announced(10 - ACTIVE_ROUNDS - 1) == frozenset()


def test_made_up_identities_fill_no_memory() -> None:
    activity = PeerActivity()
    activity.record(announcement(f"peer{number}", 1) for number in range(MAX_PEERS + 100))
    assert len(activity.newest()) == MAX_PEERS
    assert len(activity.announced(1)) == MAX_PEERS


class ListedRecords:
    """A noticeboard in memory that says when it was read."""

    def __init__(self) -> None:
        self.announcements: list[Announcement] = []
        self.reads = asyncio.Event()
        self.round: int | None = None

    def set_round(self, round_number: int) -> None:
        self.round = round_number

    async def read(self, round: int, enough: int | None = None) -> list[Announcement]:
        self.reads.set()
        return [announcement for announcement in self.announcements if announcement.round == round]


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


async def test_a_restarted_keeper_waits_for_those_who_were_active_before() -> None:
    client, records, clock = CountingClient(round=7), ListedRecords(), Clock()
    records.announcements = [announcement("a", 6), announcement("b", 6), announcement("a", 7)]
    keeper = keeper_with(client, records, clock)
    await keeper.look()
    clock.now += 10
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

"""The gathering of a round, against a DHT and peers that say and serve what each test wants."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from rgym_exp.swarm.exchange import Drops, KnownPeers, SharesDealtWith
from rgym_exp.swarm.fetching import SlowServers
from rgym_exp.swarm.gathering import RoundGathering
from rgym_exp.swarm.publishing import CAPABILITIES, leave_notice
from rgym_exp.swarm.refused import FetchFailed
from rgym_exp.swarm.shards import Slice
from rgym_exp.swarm.share import encode_share
from rgym_exp.swarm.verify import ShareRules
from rgym_exp.types import Announcement, interim_round
from tests.unit.swarm.swarm_builders import (
    GENERATIONS,
    MAX_SLOTS,
    SWARM_ID,
    TASKS_DIGEST,
    make_announcement,
    make_share,
)

OWN = "QmOwn"
RULES = ShareRules(swarm_id=SWARM_ID, tasks_digest=TASKS_DIGEST, max_slots=MAX_SLOTS, num_generations=GENERATIONS)
FAR_TOO_LONG = 3600.0
"""Seconds that a gathering may take; pytest's own time-out is far shorter."""


class FakeSwarm:
    """A DHT and the peers behind it."""

    def __init__(self) -> None:
        self.published: dict[int, list[Announcement]] = {}
        self.served: dict[tuple[str, str], bytes] = {}
        self.fetches: Counter[str] = Counter()
        self.looks = asyncio.Semaphore(0)
        self.answers = asyncio.Semaphore(0)
        """One for each share that was served, or never will be."""
        self.is_broken = False

    def publish(self, peer_id: str, round: int, **changes: object) -> Announcement:
        data = encode_share(make_share(peer_id, round))
        announcement = make_announcement(peer_id, round, data=data, **changes)
        self.published.setdefault(announcement.listed, []).append(announcement)
        self.served[peer_id, announcement.share_digest] = data
        return announcement

    level = 0

    async def read(self, round: int, *parts: Slice, thorough: bool = True) -> list[Announcement]:
        self.looks.release()
        if self.is_broken:
            raise RuntimeError("the network is down")
        return [one for one in self.published.get(round, []) if any(part.covers(one.peer_id, round) for part in parts)]

    async def survey(self, round: int) -> list[Announcement]:
        return list(self.published.get(round, []))

    async def fetch(self, announcement: Announcement) -> bytes:
        self.fetches[announcement.peer_id] += 1
        await asyncio.sleep(0)
        data = self.served.get((announcement.peer_id, announcement.share_digest))
        if data is None:
            raise FetchFailed("fetch_failed")
        self.answers.release()
        return data

    async def never(self) -> None:
        self.answers.release()
        await asyncio.Event().wait()


@pytest.fixture
async def swarm() -> FakeSwarm:
    return FakeSwarm()


@pytest.fixture
def drops() -> Drops:
    return Drops()


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def known() -> KnownPeers:
    return KnownPeers(OWN)


@pytest.fixture
def slow_servers() -> SlowServers:
    return SlowServers()


@pytest.fixture
def gather(
    swarm: FakeSwarm, drops: Drops, clock: Clock, known: KnownPeers, slow_servers: SlowServers
) -> Callable[[int], RoundGathering]:
    dealt_with = SharesDealtWith()

    def start(round: int) -> RoundGathering:
        gathering = RoundGathering(
            round=round,
            records=swarm,
            fetch=swarm.fetch,
            rules=RULES,
            known=known,
            dealt_with=dealt_with,
            slow_servers=slow_servers,
            drops=drops,
            own_peer_id=OWN,
            fetches_at_once=4,
            rng=random.Random(0),
            clock=clock,
        )
        gathering.start()
        return gathering

    return start


Gather = Callable[[int], RoundGathering]


async def test_with_nobody_known_it_ends_at_once(gather: Gather) -> None:
    assert await gather(5).finish(timeout_seconds=FAR_TOO_LONG, enough_shares=8) == []


async def test_it_takes_what_is_there_although_nobody_was_known(gather: Gather, swarm: FakeSwarm) -> None:
    swarm.publish("QmA", 5)
    (received,) = await gather(5).finish(timeout_seconds=60, enough_shares=8)
    assert received.share == make_share("QmA", 5)


async def test_it_waits_for_a_peer_that_took_part_in_the_round_before(
    gather: Gather, swarm: FakeSwarm, known: KnownPeers
) -> None:
    known.seen(make_announcement("QmA", 4))
    ending = asyncio.create_task(played(gather(5)))
    await look_again(swarm)
    assert not ending.done()
    swarm.publish("QmA", 5)
    assert await ending == ["QmA"]


async def test_it_waits_for_half_of_those_who_take_part(gather: Gather, swarm: FakeSwarm, known: KnownPeers) -> None:
    for peer in ("QmA", "QmB", "QmC", "QmD"):
        known.seen(make_announcement(peer, 4))
    swarm.publish("QmA", 5)
    ending = asyncio.create_task(played(gather(5)))
    await look_again(swarm)
    assert not ending.done()
    swarm.publish("QmB", 5)
    assert set(await ending) == {"QmA", "QmB"}


async def test_it_does_not_wait_longer_than_it_may(gather: Gather, swarm: FakeSwarm, known: KnownPeers) -> None:
    for peer in ("QmAway", "QmGone", "QmLost"):
        known.seen(make_announcement(peer, 4))
    swarm.publish("QmA", 5)
    received = await gather(5).finish(timeout_seconds=0.5, enough_shares=8)
    assert [share.share.peer_id for share in received] == ["QmA"]


async def test_a_peer_silent_for_two_rounds_is_not_waited_for(gather: Gather, known: KnownPeers) -> None:
    known.seen(make_announcement("QmAway", 3))
    assert await gather(6).finish(timeout_seconds=FAR_TOO_LONG, enough_shares=8) == []


async def test_a_peer_that_is_always_late_is_not_waited_for(gather: Gather, known: KnownPeers) -> None:
    known.seen(make_announcement("QmSlow", 2, listed=5))
    assert known.newest_first() == ["QmSlow"]
    assert await gather(6).finish(timeout_seconds=FAR_TOO_LONG, enough_shares=8) == []


async def played(gathering: RoundGathering) -> list[str]:
    """The peers whose shares came, in a round that has all the time it wants."""
    return [share.share.peer_id for share in await gathering.finish(timeout_seconds=FAR_TOO_LONG, enough_shares=8)]


async def look_again(swarm: FakeSwarm, times: int = 4) -> None:
    async with asyncio.timeout(20):
        for _ in range(times):
            await swarm.looks.acquire()


async def test_a_peer_that_died_is_waited_for_little_longer_than_this_node_took(
    gather: Gather, swarm: FakeSwarm, clock: Clock, known: KnownPeers
) -> None:
    known.seen(make_announcement("QmA", 4))
    gathering = gather(5)
    clock.now = 10.0
    ending = asyncio.create_task(played(gathering))
    await look_again(swarm)
    clock.now = 14.4
    await look_again(swarm)
    assert not ending.done()
    clock.now = 14.6  # 1.25 x 10 s + 2 s are over
    assert await ending == []


async def test_a_share_that_came_after_this_node_had_looked_is_taken_in_the_next_round_and_only_once(
    gather: Gather, swarm: FakeSwarm
) -> None:
    assert await played(gather(4)) == []
    late = swarm.publish("QmA", 4)
    (received,) = await gather(5).finish(timeout_seconds=60, enough_shares=8)
    assert received.announcement == late
    assert await gather(6).finish(timeout_seconds=0.5, enough_shares=8) == []


async def test_a_late_share_is_found_under_the_round_in_which_it_came(gather: Gather, swarm: FakeSwarm) -> None:
    late = swarm.publish("QmSlow", 2, listed=6)
    (received,) = await gather(6).finish(timeout_seconds=60, enough_shares=8)
    assert (received.announcement, received.share.round) == (late, 2)


async def test_a_node_that_is_late_itself_gathers_where_the_swarm_is(gather: Gather, swarm: FakeSwarm) -> None:
    swarm.publish("QmNow", 9)
    swarm.publish("QmThen", 5)
    received = await gather(5).finish(timeout_seconds=60, enough_shares=8, swarm_round=9)
    assert [share.share.peer_id for share in received] == ["QmNow"]


async def test_of_a_peers_shares_of_two_rounds_the_newest_is_taken(gather: Gather, swarm: FakeSwarm) -> None:
    swarm.publish("QmA", 4)
    newest = swarm.publish("QmA", 5)
    (received,) = await gather(5).finish(timeout_seconds=60, enough_shares=8)
    assert received.announcement == newest


async def test_everybody_who_has_announced_by_the_time_of_publishing_is_heard_alike(
    swarm: FakeSwarm, gather: Gather, drops: Drops
) -> None:
    """Chi-square against uniform: 24 peers, of which 8 announce first, 8 before the end, and 8 are late."""
    peers = [f"Qm{number}" for number in range(24)]
    for peer in peers[16:]:
        swarm.publish(peer, 2, listed=4)
    heard: Counter[str] = Counter()
    for seed in range(300):
        swarm.published[5] = []
        for peer in peers[:8]:
            swarm.publish(peer, 5)
        gathering = RoundGathering(
            round=5,
            records=swarm,
            fetch=swarm.fetch,
            rules=RULES,
            known=KnownPeers(OWN),
            dealt_with=SharesDealtWith(),
            slow_servers=SlowServers(),
            drops=drops,
            own_peer_id=OWN,
            fetches_at_once=4,
            rng=random.Random(seed),
        )
        gathering.start()
        await swarm.looks.acquire()  # the first look, while the node generates
        for peer in peers[8:16]:
            swarm.publish(peer, 5)
        heard.update(await played(gathering))
    expected = 300 * 8 / 24
    chi_square = sum((heard[peer] - expected) ** 2 / expected for peer in peers)
    # 23 degrees of freedom: above 49.7 once in a thousand times. Drawing without repeats makes it smaller still.
    assert chi_square < 49.7


async def test_a_peer_that_published_a_leave_notice_is_not_waited_for(
    gather: Gather, swarm: FakeSwarm, known: KnownPeers
) -> None:
    last = make_announcement("QmA", 4)
    known.seen(last)
    ending = asyncio.create_task(played(gather(5)))
    await look_again(swarm)
    assert not ending.done()
    swarm.published[5] = [leave_notice(last, round=5, now=last.time)]
    async with asyncio.timeout(10):
        assert await ending == []
    assert not swarm.fetches


async def test_one_that_left_after_its_part_of_the_round_is_not_fetched_from(gather: Gather, swarm: FakeSwarm) -> None:
    swarm.published[5] = [leave_notice(swarm.publish("QmA", 5), round=5, now=0.0)]
    async with asyncio.timeout(10):
        assert await gather(5).finish(timeout_seconds=60, enough_shares=8) == []
    assert swarm.fetches["QmA"] == 0


async def test_one_that_left_in_the_round_before_is_not_expected_and_one_that_came_back_is(
    gather: Gather, swarm: FakeSwarm
) -> None:
    swarm.published[4] = [leave_notice(make_announcement("QmA", 4), round=4, now=0.0)]
    async with asyncio.timeout(10):
        assert await gather(5).finish(timeout_seconds=60, enough_shares=8) == []
    swarm.publish("QmA", 6)
    (received,) = await gather(6).finish(timeout_seconds=60, enough_shares=8)
    assert received.share.peer_id == "QmA"


async def test_a_fetch_that_timed_out_is_not_tried_again(gather: Gather, swarm: FakeSwarm, drops: Drops) -> None:
    async def hang_on(announcement: Announcement) -> bytes:
        swarm.fetches[announcement.peer_id] += 1
        raise FetchFailed("fetch_timeout")

    swarm.fetch = hang_on  # type: ignore[method-assign]
    swarm.publish("QmStuck", 5)
    assert await played(gather(5)) == []
    assert swarm.fetches["QmStuck"] == 1
    assert drops.take() == {"fetch_timeout": 1}


def hang(swarm: FakeSwarm, *peers: str) -> list[str]:
    """From now on these peers announce anew whenever they are asked, and never finish serving.

    Returns who was asked, in order.
    """
    fetch, asked = swarm.fetch, []

    async def fetch_or_not(announcement: Announcement) -> bytes:
        peer, listed = announcement.peer_id, announcement.listed
        asked.append(peer)
        if peer in peers:
            anew = make_announcement(peer, listed, data=b"%d" % len(asked))
            others = [one for one in swarm.published[listed] if one.peer_id != peer]
            swarm.published[listed] = [*others, anew]
            await swarm.never()
        return await fetch(announcement)

    swarm.fetch = fetch_or_not  # type: ignore[method-assign]
    return asked


async def ended_late(gathering: RoundGathering, swarm: FakeSwarm, clock: Clock, *, asked: int) -> list[str]:
    """The peers heard in a round whose time passes while one of the first ``asked`` is still serving."""
    clock.now += 10.0
    ending = asyncio.create_task(played(gathering))
    async with asyncio.timeout(20):
        for _ in range(asked):
            await swarm.answers.acquire()
    assert not ending.done()
    clock.now += 4.6  # 1.25 x 10 s + 2 s are over
    async with asyncio.timeout(20):
        return await ending


async def test_a_peer_that_serves_slowly_holds_nobody_up_for_longer_than_the_round_takes(
    gather: Gather, swarm: FakeSwarm, clock: Clock
) -> None:
    hang(swarm, "QmSlow")
    for peer in ("QmA", "QmB", "QmC", "QmSlow"):
        swarm.publish(peer, 5)
    assert set(await ended_late(gather(5), swarm, clock, asked=4)) == {"QmA", "QmB", "QmC"}


async def test_nor_in_a_swarm_half_of_which_is_more_than_is_fetched_from(
    gather: Gather, swarm: FakeSwarm, clock: Clock
) -> None:
    fetch = swarm.fetch

    async def third_hangs(announcement: Announcement) -> bytes:
        if swarm.fetches.total() == 2:
            swarm.fetches["slow"] += 1
            await swarm.never()
        return await fetch(announcement)

    swarm.fetch = third_hangs  # type: ignore[method-assign]
    for number in range(40):
        swarm.publish(f"Qm{number}", 5)
    assert len(await ended_late(gather(5), swarm, clock, asked=8)) == 7


async def test_the_only_other_peer_gets_no_more_than_the_rounds_time_once_it_served_slowly(
    gather: Gather, swarm: FakeSwarm, clock: Clock, slow_servers: SlowServers
) -> None:
    slow_servers.was_slow("QmSlow")
    hang(swarm, "QmSlow")
    swarm.publish("QmSlow", 5)
    assert await ended_late(gather(5), swarm, clock, asked=1) == []


async def test_who_served_slowly_is_asked_last_in_the_next_round_and_heard_again_when_it_serves(
    gather: Gather, swarm: FakeSwarm, clock: Clock
) -> None:
    peers = [f"Qm{number}" for number in range(6)]
    fetch, slow = swarm.fetch, peers[:2]
    for peer in peers:
        swarm.publish(peer, 5)
    hang(swarm, *slow)
    assert set(await ended_late(gather(5), swarm, clock, asked=6)) == set(peers[2:])
    swarm.fetch = fetch  # type: ignore[method-assign]
    asked = hang(swarm)
    for peer in peers:
        swarm.publish(peer, 9)
    received = await gather(9).finish(timeout_seconds=60, enough_shares=8)
    assert set(asked[-2:]) == set(slow)
    assert {share.share.peer_id for share in received} == set(peers)


async def test_it_ends_when_enough_shares_are_here(gather: Gather, swarm: FakeSwarm) -> None:
    for number in range(6):
        swarm.publish(f"Qm{number}", 5)
    swarm.publish("QmLate", 4)
    received = await gather(5).finish(timeout_seconds=60, enough_shares=3)
    assert len({share.share.peer_id for share in received}) >= 3


async def test_nothing_is_fetched_before_this_nodes_own_share_is_published(gather: Gather, swarm: FakeSwarm) -> None:
    swarm.publish("QmA", 5)
    gathering = gather(5)
    await look_again(swarm, times=2)
    assert not swarm.fetches
    assert len(await gathering.finish(timeout_seconds=5, enough_shares=1)) == 1


async def test_announcements_are_collected_before_in_case_the_network_fails_at_the_end(
    gather: Gather, swarm: FakeSwarm
) -> None:
    swarm.publish("QmA", 5)
    gathering = gather(5)
    await look_again(swarm, times=2)
    swarm.is_broken = True
    assert len(await gathering.finish(timeout_seconds=5, enough_shares=1)) == 1


async def test_its_own_announcement_is_left_alone(gather: Gather, swarm: FakeSwarm, drops: Drops) -> None:
    swarm.publish(OWN, 5)
    assert await gather(5).finish(timeout_seconds=60, enough_shares=8) == []
    assert not swarm.fetches
    assert drops.take() == {}


async def test_a_share_of_other_tasks_is_not_fetched_and_said_once(
    gather: Gather, swarm: FakeSwarm, drops: Drops, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="rl_swarm.swarm")
    swarm.publish("QmA", 5, tasks_digest="other")
    assert await gather(5).finish(timeout_seconds=60, enough_shares=8) == []
    assert drops.take() == {"other_tasks": 1}
    assert not swarm.fetches
    assert sum("other tasks" in record.getMessage() for record in caplog.records) == 1


async def test_what_is_wrong_is_dropped_and_counted_and_the_rest_comes_through(
    gather: Gather, swarm: FakeSwarm, drops: Drops
) -> None:
    swarm.publish("QmGood", 5)
    garbage = swarm.publish("QmGarbage", 5)
    swarm.served["QmGarbage", garbage.share_digest] = b"garbage"
    liar = swarm.publish("QmLiar", 5)
    swarm.served["QmLiar", liar.share_digest] = encode_share(make_share("QmOther", 5))
    gone = swarm.publish("QmGone", 5)
    del swarm.served["QmGone", gone.share_digest]
    received = await gather(5).finish(timeout_seconds=30, enough_shares=8)
    assert [share.share.peer_id for share in received] == ["QmGood"]
    assert drops.take() == {"share_malformed": 1, "not_as_announced": 1, "fetch_failed": 1}


async def test_a_bad_share_is_not_fetched_again_in_the_next_round_and_an_unreachable_one_is(
    gather: Gather, swarm: FakeSwarm
) -> None:
    garbage = swarm.publish("QmGarbage", 5)
    swarm.served["QmGarbage", garbage.share_digest] = b"garbage"
    away = swarm.publish("QmAway", 5)
    data = swarm.served.pop(("QmAway", away.share_digest))
    assert await played(gather(5)) == []
    swarm.served["QmAway", away.share_digest] = data
    assert await gather(6).finish(timeout_seconds=1, enough_shares=8) != []
    assert swarm.fetches == {"QmGarbage": 1, "QmAway": 4}


async def test_an_unreachable_peer_is_tried_three_times(gather: Gather, swarm: FakeSwarm) -> None:
    gone = swarm.publish("QmGone", 5)
    swarm.served.clear()
    await gather(5).finish(timeout_seconds=30, enough_shares=8)
    assert swarm.fetches[gone.peer_id] == 3


async def test_a_peer_that_announces_anew_after_a_restart_is_heard(
    gather: Gather, swarm: FakeSwarm, known: KnownPeers
) -> None:
    for peer in ("QmA", "QmB", "QmC"):  # expected, so that the gathering goes on waiting
        known.seen(make_announcement(peer, 4))
    stale = swarm.publish("QmA", 5)
    swarm.served.clear()
    gathering = gather(5)
    ending = asyncio.create_task(gathering.finish(timeout_seconds=60, enough_shares=8))
    async with asyncio.timeout(20):
        while swarm.fetches["QmA"] < 3:
            await swarm.looks.acquire()
    data = encode_share(make_share("QmA", 5, group_count=1))
    fresh = make_announcement("QmA", 5, data=data, group_count=1)
    swarm.published[5].remove(stale)
    swarm.published[5].append(fresh)
    swarm.served["QmA", fresh.share_digest] = data
    swarm.publish("QmB", 5)
    received = {share.share.peer_id: share.announcement for share in await ending}
    assert received["QmA"] == fresh


async def test_a_peer_that_announces_anew_while_its_last_share_is_fetched_is_heard(
    gather: Gather, swarm: FakeSwarm
) -> None:
    stale = swarm.publish("QmA", 5)
    fetch, asked, failing = swarm.fetch, asyncio.Event(), asyncio.Event()

    async def fetch_slowly(announcement: Announcement) -> bytes:
        if announcement is not stale:
            return await fetch(announcement)
        asked.set()
        await failing.wait()
        raise FetchFailed("fetch_timeout")

    swarm.fetch = fetch_slowly  # type: ignore[method-assign]
    ending = asyncio.create_task(gather(5).finish(timeout_seconds=60, enough_shares=8))
    await asked.wait()
    data = encode_share(make_share("QmA", 5, group_count=1))
    fresh = make_announcement("QmA", 5, data=data, group_count=1)
    swarm.served["QmA", fresh.share_digest] = data
    swarm.published[5] = [fresh]
    while not swarm.looks.locked():
        await swarm.looks.acquire()
    await look_again(swarm, times=2)  # the second begins when the first has been dealt with
    failing.set()
    assert [share.announcement for share in await ending] == [fresh]


async def test_a_peer_that_announces_ever_new_shares_is_heard_three_times_a_round(
    gather: Gather, swarm: FakeSwarm, known: KnownPeers
) -> None:
    for peer in ("QmA", "QmB", "QmC"):  # expected, so that the gathering goes on waiting
        known.seen(make_announcement(peer, 4))
    gathering = gather(5)
    ending = asyncio.create_task(played(gathering))
    for number in range(5):
        garbage = b"garbage %d" % number
        announcement = make_announcement("QmA", 5, data=garbage)
        swarm.served["QmA", announcement.share_digest] = garbage
        swarm.published[5] = [announcement]
        while not swarm.looks.locked():
            await swarm.looks.acquire()
        await look_again(swarm, times=2)  # the second begins when the first has been dealt with
    await gathering.stop()
    assert await ending == []
    assert swarm.fetches["QmA"] == 3


async def test_no_more_shares_are_fetched_at_once_than_it_was_told(gather: Gather, swarm: FakeSwarm) -> None:
    fetch, under_way, most = swarm.fetch, 0, 0

    async def counted(announcement: Announcement) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await fetch(announcement)
        finally:
            under_way -= 1

    swarm.fetch = counted  # type: ignore[method-assign]
    for number in range(8):
        swarm.publish(f"Qm{number}", 5)
    assert len(await played(gather(5))) == 8
    assert most == 4


async def test_no_more_shares_are_fetched_than_are_enough_and_the_boards_order_does_not_say_whose(
    gather: Gather, swarm: FakeSwarm
) -> None:
    peers = [f"Qm{number}" for number in range(16)]
    for peer in peers:
        swarm.publish(peer, 5)
    received = await played(gather(5))
    assert swarm.fetches == dict.fromkeys(received, 1)
    assert len(received) == 8
    assert set(received) not in (set(peers[:8]), set(peers[8:]))


async def test_a_broken_network_is_counted_and_never_raises(gather: Gather, swarm: FakeSwarm, drops: Drops) -> None:
    swarm.is_broken = True
    assert await gather(5).finish(timeout_seconds=1, enough_shares=8) == []
    assert drops.take()["records_unreadable"] >= 2


async def test_the_very_first_round_has_none_before_it(gather: Gather, swarm: FakeSwarm) -> None:
    swarm.publish("QmA", 0)
    assert len(await gather(0).finish(timeout_seconds=10, enough_shares=8)) == 1
    assert -1 not in swarm.published


def test_known_peers_are_listed_newest_first_without_ourselves() -> None:
    known = KnownPeers(OWN)
    for peer, round in (("QmOld", 3), ("QmNew", 5), (OWN, 5), ("QmNew", 4)):
        known.seen(make_announcement(peer, round))
    assert known.newest_first() == ["QmNew", "QmOld"]
    assert known.expected(6) == {"QmNew"}
    assert known.expected(12) == set() and known.newest_first() == ["QmNew"]
    assert known.expected(14) == set() and known.newest_first() == []


def test_peers_seen_before_a_chain_was_set_back_are_not_waited_for_after_it() -> None:
    known = KnownPeers(OWN)
    known.seen(make_announcement("QmA", 900))
    assert known.expected(40) == set() and known.newest_first() == []


def test_peers_of_an_interim_round_are_expected_when_the_contract_is_back() -> None:
    known = KnownPeers(OWN)
    known.seen(make_announcement("QmA", interim_round(7, 3), listed=interim_round(7, 1), capabilities=CAPABILITIES))
    assert known.expected(interim_round(7, 4)) == known.expected(8) == {"QmA"}


async def test_in_an_interim_round_nobody_waits_for_peers_that_stop_when_the_hub_is_away(
    gather: Gather, swarm: FakeSwarm, known: KnownPeers
) -> None:
    for peer in ("QmEarlierVersion", "QmOfThatToo"):
        known.seen(make_announcement(peer, 12, protocol=1))
    known.seen(make_announcement("QmPlaysOn", 12, capabilities=CAPABILITIES))
    assert known.expected(12) == {"QmEarlierVersion", "QmOfThatToo", "QmPlaysOn"}
    swarm.publish("QmPlaysOn", interim_round(12, 1), capabilities=CAPABILITIES)
    assert await played(gather(interim_round(12, 1))) == ["QmPlaysOn"]


async def test_in_an_interim_round_peers_that_heard_of_another_contract_round_last_are_heard(
    gather: Gather, swarm: FakeSwarm, known: KnownPeers
) -> None:
    for peer, base in (("QmSame", 12), ("QmBehind", 9), ("QmAhead", 20), ("QmFarAhead", 21)):
        swarm.publish(peer, interim_round(base, 2), listed=interim_round(base, 1))
    assert set(await played(gather(interim_round(12, 1)))) == {"QmSame", "QmBehind", "QmAhead"}
    assert await played(gather(interim_round(12, 2))) == [], "each share once, and nobody waits for the next"


async def test_a_contract_round_takes_no_interim_shares(gather: Gather, swarm: FakeSwarm) -> None:
    swarm.publish("QmAway", interim_round(12, 2), listed=interim_round(12, 1))
    assert await played(gather(12)) == []


def test_who_announces_the_digest_of_another_keeps_nobody_from_hearing_that_one() -> None:
    dealt_with = SharesDealtWith()
    dealt_with.add(make_announcement("QmEvil", 5))
    assert make_announcement("QmEvil", 5) in dealt_with
    assert make_announcement("QmHonest", 5) not in dealt_with


def test_only_so_many_shares_are_remembered_the_oldest_forgotten_first() -> None:
    dealt_with = SharesDealtWith()
    shares = [make_announcement(f"Qm{number}", 5) for number in range(SharesDealtWith.REMEMBERED + 1)]
    for share in shares:
        dealt_with.add(share)
    assert shares[0] not in dealt_with
    assert shares[1] in dealt_with and shares[-1] in dealt_with


def test_a_leave_notice_counts_up_to_its_round_and_no_further() -> None:
    known = KnownPeers("me")
    a = make_announcement("a", 5)
    known.seen(a)
    known.seen(leave_notice(a, round=4, now=a.time))
    known.seen(leave_notice(make_announcement("stranger", 5), round=5, now=a.time))
    assert known.newest_first() == ["a"]
    known.seen(leave_notice(a, round=5, now=a.time))
    assert known.newest_first() == [] and known.expected(6) == set()


def test_drops_are_counted_from_one_call_to_the_next() -> None:
    drops = Drops()
    drops.add("bad")
    drops.add("bad")
    assert drops.take() == {"bad": 2}
    assert drops.take() == {}

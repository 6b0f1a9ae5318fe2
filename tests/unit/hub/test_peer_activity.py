"""Who counts as there, who is waited for, and what each has earned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rgym_exp.hub.peer_activity import ACTIVE_ROUNDS, MAX_PEERS, PeerActivity
from rgym_exp.swarm.publishing import leave_notice
from tests.unit.hub.activity_builders import announcement


def weights(activity: PeerActivity, round: int) -> dict[str, int]:
    return {peer_id: peer.weight for peer_id, peer in activity.active(round).items()}


def awaited(activity: PeerActivity, round: int) -> set[str]:
    return {peer_id for peer_id, peer in activity.active(round).items() if peer.is_awaited}


def test_a_peer_is_awaited_for_three_rounds_after_its_last_announcement_and_active_for_eight() -> None:
    activity = PeerActivity()
    activity.record([announcement("a", 4), announcement("b", 5), announcement("c", 6)])
    assert (awaited(activity, 7), awaited(activity, 8), awaited(activity, 10)) == ({"a", "b", "c"}, {"b", "c"}, set())
    assert activity.active(12).keys() == {"a", "b", "c"}
    assert activity.active(13).keys() == {"b", "c"}


def test_a_late_share_shows_that_its_peer_is_there_but_nobody_waits_for_it() -> None:
    activity = PeerActivity()
    activity.record([announcement("a", 6), announcement("slow", 3, listed=6)])
    assert activity.announced(6) == {"a"}
    assert activity.active(7).keys() == {"a", "slow"}
    assert awaited(activity, 7) == {"a"}
    assert [newest.peer_id for newest in activity.newest()] == ["a", "slow"]


def test_a_peer_gains_weight_by_the_rounds_that_it_attends_and_a_fresh_one_has_next_to_none() -> None:
    activity = PeerActivity()
    activity.record(announcement("old", round) for round in range(20))
    activity.record([announcement("fresh", 19), announcement("fresh", 19)])
    assert weights(activity, 20) == {"old": 20, "fresh": 1}


def test_the_rounds_that_pass_while_a_slow_peer_works_are_attended_too_but_not_those_of_an_absence() -> None:
    activity = PeerActivity()
    activity.record(announcement("slow", round, listed=round + 4) for round in range(0, 41, 5))
    activity.record([announcement("back", 20), announcement("back", 44)])
    assert weights(activity, 45) == {"slow": 41, "back": 1}


def test_who_let_a_round_run_into_its_limit_counts_as_gone_until_it_announces_again() -> None:
    activity = PeerActivity()
    activity.record([announcement("a", 4), announcement("b", 4), announcement("a", 5)])
    activity.give_up(["b"])
    assert activity.active(6).keys() == {"a"}
    activity.record([announcement("b", 5)])
    assert activity.active(6).keys() == {"a", "b"}


def test_a_peer_that_publishes_a_leave_notice_is_waited_for_no_more() -> None:
    activity = PeerActivity()
    activity.record([announcement("a", 4), announcement("b", 4), announcement("b", 5)])
    activity.record([leave_notice(announcement("b", 5), round=6, now=1.0)])
    assert activity.active(5).keys() == activity.active(6).keys() == {"a"}
    assert activity.gone() == {"b"}
    assert activity.announced(6) == frozenset()
    assert [newest.peer_id for newest in activity.newest()] == ["a"]


def test_who_left_after_its_part_of_the_round_has_done_it_even_if_only_the_leave_notice_was_seen() -> None:
    activity = PeerActivity()
    activity.record([leave_notice(announcement("a", 5), round=5, now=1.0)])
    assert activity.announced(5) == {"a"}
    assert activity.active(6) == {}


def test_a_dht_that_still_shows_what_was_before_the_leave_notice_changes_nothing() -> None:
    activity = PeerActivity()
    activity.record([announcement("a", 5)])
    for _ in range(2):
        activity.record([leave_notice(announcement("a", 5), round=5, now=1.0)])
        activity.record([announcement("a", 5)])
    assert activity.active(6) == {}


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
    activity.record(announcement("a", round) for round in range(12))
    activity.record([announcement("gone", 2)])
    activity.forget_before(12)
    assert [newest.peer_id for newest in activity.newest()] == ["a"]
    assert activity.announced(12 - ACTIVE_ROUNDS) == {"a"}
    assert activity.announced(12 - ACTIVE_ROUNDS - 1) == frozenset()


def test_made_up_identities_fill_no_memory() -> None:
    activity = PeerActivity()
    activity.record(announcement(f"peer{number}", 1) for number in range(MAX_PEERS + 100))
    assert len(activity.newest()) == MAX_PEERS
    assert len(activity.announced(1)) == MAX_PEERS

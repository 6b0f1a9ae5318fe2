"""The swarm in virtual time, in a short form of ``benchmarks/swarm.py``: what an unequal swarm must hold."""

from __future__ import annotations

import statistics
from functools import cache

import pytest

from simulation.virtual_strangers import STRANGERS
from simulation.virtual_swarm import SwarmOutcome, SwarmPlan, simulate


@cache
def eight_peers() -> SwarmOutcome:
    return simulate(SwarmPlan(peers=8, minutes=12))


@cache
def many_peers() -> SwarmOutcome:
    return simulate(SwarmPlan(peers=64, minutes=5))


def test_eight_unequal_peers_play_four_hundred_rounds_an_hour_and_hardly_a_share_is_lost() -> None:
    outcome = eight_peers()
    assert outcome.rounds_per_hour >= 400
    assert outcome.unused <= 0.05
    assert outcome.never_heard == 0


def test_sixty_four_unequal_peers_play_on_and_all_of_them_are_heard() -> None:
    outcome = many_peers()
    assert outcome.rounds_per_hour >= 270
    assert outcome.unused <= 0.15  # of five minutes, the last shares are a large part
    assert outcome.never_heard == 0


def test_the_slowest_quarter_is_used_at_least_half_as_often_as_the_quickest() -> None:
    quickest, *_, slowest = many_peers().uses_by_quarter
    assert slowest >= 0.5 * quickest


def test_what_a_peer_reads_in_a_round_does_not_grow_with_the_swarm() -> None:
    assert many_peers().reads_per_step < 30
    assert eight_peers().reads_per_step < 30


@pytest.mark.parametrize("peers", [2, 3, 8])
def test_a_peer_that_dies_makes_no_round_longer_than_twice_the_median(peers: int) -> None:
    outcome = simulate(SwarmPlan(peers=peers, spread=1.5, minutes=6, dead_at=3.0))
    median = statistics.median(outcome.rounds_between(0.5, 3.0))
    assert max(outcome.rounds_between(3.0, 6.0)) <= 2 * median


def test_a_newcomer_five_times_slower_is_heard_and_does_not_slow_the_others() -> None:
    outcome = simulate(SwarmPlan(peers=8, minutes=12, newcomer=5.0))
    made, uses = outcome.made[-1], outcome.uses[-1]
    assert uses >= made >= 5
    before, after = outcome.rounds_between(1, 5), outcome.rounds_between(6, 12)
    assert statistics.median(after) < 1.5 * statistics.median(before)


def test_a_hundred_and_fifty_that_arrive_at_once_play_on_after_a_restart_of_the_hub() -> None:
    """Their records lie at level 3; a hub that looked at levels 0 and 1 alone stood still for ever."""
    outcome = simulate(SwarmPlan(peers=150, minutes=2.5, arrive_seconds=5.0, hub_restart_at=1.5))
    typical = statistics.median(outcome.rounds_between(0.5, 1.5))
    after = outcome.rounds_between(1.5, 2.5)
    assert len(after) >= 3 and max(after) < 2 * typical


def test_as_many_strangers_that_announce_at_once_cost_the_honest_few_steps() -> None:
    undisturbed = simulate(SwarmPlan(peers=16, minutes=10))
    disturbed = simulate(SwarmPlan(peers=16, minutes=10, strangers=16, strangers_at=3.0), STRANGERS["instant"])
    assert disturbed.steps_per_hour >= 0.8 * undisturbed.steps_per_hour
    assert min(disturbed.rounds_between(4, 10)) > 4.0


@pytest.mark.parametrize("kind", ["limit", "vanish", "fresh"])
def test_strangers_hardly_change_how_long_rounds_are(kind: str) -> None:
    outcome = simulate(SwarmPlan(peers=16, minutes=10, strangers=16, strangers_at=3.0), STRANGERS[kind])
    before, after = outcome.rounds_between(1, 3), outcome.rounds_between(4, 10)
    assert statistics.median(after) == pytest.approx(statistics.median(before), rel=0.15)
    assert max(after) < 1.5 * statistics.median(before)

"""The hub is away and returns, in virtual time: nodes with the real rounds, gathering and selection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rgym_exp.types import contract_round, interim_count
from simulation.virtual_peer import PlayedRound
from simulation.virtual_swarm import SwarmPlan, simulate

RETURN = 8.0
"""Minute at which the hub is back."""


def test_all_peers_hear_others_while_the_hub_is_away_whichever_round_each_heard_of_last() -> None:
    outcome = simulate(SwarmPlan(peers=8, spread=4, minutes=RETURN, hub_away=(2.0, RETURN)))
    interim = [[played for played in rounds if interim_count(played.number)] for rounds in outcome.played]
    assert len({contract_round(rounds[0].number) for rounds in interim}) > 1, "slow peers had not heard of the last one"
    for own in interim:
        assert len(own) >= 5
        # The first ones may find nobody there yet.
        assert all(played.authors for played in own[2:])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_groups_that_numbered_apart_meet_within_two_rounds_of_the_hubs_return(seed: int) -> None:
    """Half of the peers lose the hub six minutes before it goes away for all, and train on from another round."""
    plan = SwarmPlan(peers=6, spread=2, minutes=RETURN + 3, seed=seed, apart_from=1.0, hub_away=(RETURN - 3, RETURN))
    outcome = simulate(plan)
    before = [last_before(rounds, RETURN * 60) for rounds in outcome.played]
    numbered = [{contract_round(played.number) for played in before[group::2]} for group in (0, 1)]
    assert min(numbered[0]) > max(numbered[1]) + 8
    for number, rounds in enumerate(outcome.played):
        first_two = list(contract_rounds_after(rounds, RETURN * 60))[:2]
        assert len(first_two) == 2
        others = {f"p{other}" for other in range(plan.peers) if other % 2 != number % 2}
        assert others & frozenset().union(*(played.authors for played in first_two))


def test_no_interim_round_is_played_twice_by_a_peer() -> None:
    outcome = simulate(SwarmPlan(peers=3, minutes=6, hub_away=(2.0, 5.0)))
    for rounds in outcome.played:
        numbers = [played.number for played in rounds if interim_count(played.number)]
        assert len(numbers) == len(set(numbers)) >= 5


def last_before(rounds: list[PlayedRound], time: float) -> PlayedRound:
    return [played for played in rounds if played.ended < time][-1]


def contract_rounds_after(rounds: list[PlayedRound], time: float) -> Iterator[PlayedRound]:
    return (played for played in rounds if played.ended > time and not interim_count(played.number))

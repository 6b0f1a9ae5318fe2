"""Which external groups are trained on."""

from __future__ import annotations

import random
from collections import Counter

from rgym_exp.swarm.selection import select
from tests.unit.swarm.swarm_builders import make_group

MIXED = (0.0, 1.0)


def test_a_group_whose_rewards_are_equal_is_not_selected() -> None:
    groups = [make_group("a", 0, (1.0, 1.0)), make_group("a", 1, MIXED), make_group("b", 0, (0.0, 0.0))]
    assert select(groups, count=4, per_peer=4, rng=random.Random(0)) == [groups[1]]


def test_the_least_difference_between_rewards_is_enough_to_be_selected() -> None:
    nearly_equal = make_group("a", 0, (0.5, 0.51))
    assert not nearly_equal.is_zero_advantage
    assert select([nearly_equal], count=4, per_peer=4, rng=random.Random(0)) == [nearly_equal]
    # What rounding alone makes of equal rewards is no difference.
    assert make_group("a", 0, (0.1 + 0.2, 0.3)).is_zero_advantage


def test_no_more_than_a_quota_comes_from_one_peer() -> None:
    groups = [make_group("a", slot, MIXED) for slot in range(8)] + [make_group("b", 0, MIXED)]
    chosen = select(groups, count=8, per_peer=2, rng=random.Random(0))
    assert Counter(group.peer_id for group in chosen) == {"a": 2, "b": 1}


def test_no_more_are_selected_than_asked_for_and_none_twice() -> None:
    groups = [make_group(peer, slot, MIXED) for peer in "abcdef" for slot in range(3)]
    chosen = select(groups, count=5, per_peer=2, rng=random.Random(1))
    assert len({(group.peer_id, group.problem.slot) for group in chosen}) == 5


def test_a_peer_gains_nothing_by_sending_more_groups() -> None:
    groups = [make_group("many", slot, MIXED) for slot in range(20)] + [make_group("one", 0, MIXED)]
    first = Counter(select(groups, count=1, per_peer=2, rng=random.Random(seed))[0].peer_id for seed in range(2000))
    # Fair coin: 1000 of 2000, standard deviation 22.
    assert abs(first["one"] - 1000) < 110


def test_every_group_of_a_peer_has_the_same_chance() -> None:
    groups = [make_group("a", slot, MIXED) for slot in range(4)]
    drawn = Counter(
        select(groups, count=1, per_peer=1, rng=random.Random(seed))[0].problem.slot for seed in range(2000)
    )
    # A quarter each: 500, standard deviation 19.
    assert all(abs(drawn[slot] - 500) < 100 for slot in range(4))


def test_the_outcome_does_not_depend_on_the_order_of_arrival() -> None:
    groups = [make_group(peer, slot, MIXED) for peer in "abc" for slot in range(3)]
    assert select(groups, count=4, per_peer=2, rng=random.Random(5)) == select(
        groups[::-1], count=4, per_peer=2, rng=random.Random(5)
    )


def test_with_nothing_to_choose_from_nothing_is_selected() -> None:
    assert select([], count=4, per_peer=2, rng=random.Random(0)) == []
    assert select([make_group("a", 0, MIXED)], count=0, per_peer=2, rng=random.Random(0)) == []
    assert select([make_group("a", 0, MIXED)], count=4, per_peer=0, rng=random.Random(0)) == []

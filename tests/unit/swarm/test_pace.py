"""How long the slower peers of a swarm are waited for: the rule, on numbers worked by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rgym_exp.swarm.pace import ActivePeer, end_of_waiting, half_have_announced, is_over


def peers(weights: Mapping[str, int], *, not_awaited: str = "") -> dict[str, ActivePeer]:
    return {
        name: ActivePeer(weight=weight, is_awaited=name not in not_awaited.split()) for name, weight in weights.items()
    }


EQUAL = peers({"a": 50, "b": 50, "c": 50, "d": 50})


@pytest.mark.parametrize(
    ("weights", "announced", "half"),
    [
        pytest.param({}, set(), False, id="nobody was ever there, and nobody is"),
        pytest.param({}, {"new"}, True, id="the first peer of a new swarm"),
        pytest.param({"a": 1, "b": 1}, {"a"}, True, id="one of two"),
        pytest.param({"a": 1, "b": 1, "c": 1}, {"a"}, False, id="one of three"),
        pytest.param({"a": 1, "b": 1, "c": 1}, {"a", "b"}, True, id="two of three"),
        pytest.param({"a": 100, "b": 100, "x": 1, "y": 1, "z": 1}, {"x", "y", "z"}, False, id="fresh names"),
        pytest.param({"a": 9, "b": 9}, {"stranger", "another"}, False, id="who was not active has no vote"),
    ],
)
def test_half_is_counted_by_rounds_attended(weights: dict[str, int], announced: set[str], half: bool) -> None:
    assert half_have_announced(peers(weights), announced) is half


def test_waiting_ends_at_five_quarters_of_the_time_of_half_and_two_seconds() -> None:
    assert end_of_waiting(8.0) == 1.25 * 8.0 + 2.0


@pytest.mark.parametrize(
    ("elapsed", "half_at", "announced", "over"),
    [
        pytest.param(60.0, None, {"a"}, False, id="half are not there yet"),
        pytest.param(8.0, 8.0, {"a", "b", "c", "d"}, True, id="all are there"),
        pytest.param(11.9, 8.0, {"a", "b", "c"}, False, id="one is missing"),
        pytest.param(12.0, 8.0, {"a", "b", "c"}, True, id="and has had its time"),
        pytest.param(12.0, 8.0, {"a", "b"}, True, id="two are missing: no longer than for one"),
    ],
)
def test_a_round_of_peers_that_know_each_other(
    elapsed: float, half_at: float | None, announced: set[str], over: bool
) -> None:
    assert is_over(elapsed=elapsed, half_at=half_at, active=EQUAL, announced=announced) is over


def test_one_that_is_always_late_is_not_waited_for() -> None:
    active = peers({"a": 50, "b": 50, "slow": 50}, not_awaited="slow")
    assert is_over(elapsed=8.0, half_at=8.0, active=active, announced={"a", "b"})


@pytest.mark.parametrize(("weight", "seconds"), [(2, 4 / 7), (4, 3 * 4 / 7), (8, 4.0), (500, 4.0)])
def test_how_long_a_peer_is_waited_for_grows_with_the_rounds_it_attended(weight: int, seconds: float) -> None:
    active = peers({"a": 500, "b": 500, "newer": weight})
    for elapsed, over in ((8.0 + seconds - 0.01, False), (8.0 + seconds + 0.01, True)):
        assert is_over(elapsed=elapsed, half_at=8.0, active=active, announced={"a", "b"}) is over


def test_a_fresh_name_is_not_waited_for_at_all() -> None:
    active = peers({"a": 500, "b": 500, "fresh": 1})
    assert is_over(elapsed=8.0, half_at=8.0, active=active, announced={"a", "b"})


def test_in_a_swarm_where_nobody_has_attended_anything_all_are_waited_for_alike() -> None:
    active = peers({"a": 1, "b": 1, "c": 1})
    assert not is_over(elapsed=11.9, half_at=8.0, active=active, announced={"a", "b"})
    assert is_over(elapsed=12.0, half_at=8.0, active=active, announced={"a", "b"})

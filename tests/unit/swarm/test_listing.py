"""Under which round a share is found."""

from __future__ import annotations

import pytest

from rgym_exp.swarm.listing import MAX_ROUNDS_LATE, is_listed_rightly, listed_under, place_of, places_beside
from rgym_exp.types import contract_round, interim_count, interim_round, round_name


@pytest.mark.parametrize(
    ("round", "swarm_round", "listed"),
    [
        pytest.param(5, 5, 5, id="on time"),
        pytest.param(5, 8, 8, id="late: where the swarm is"),
        pytest.param(5, 5 + MAX_ROUNDS_LATE, 5 + MAX_ROUNDS_LATE, id="as late as may be"),
        pytest.param(5, 6 + MAX_ROUNDS_LATE, 5, id="too late for anybody"),
        pytest.param(5, 3, 5, id="the chain was set back meanwhile"),
        pytest.param(interim_round(5, 4), 5, interim_round(5, 1), id="an interim round"),
        pytest.param(interim_round(5, 4), 9, interim_round(5, 1), id="an interim round, the contract is back"),
        pytest.param(5, interim_round(5, 1), 5, id="the contract went away meanwhile"),
    ],
)
def test_where_a_share_is_published(round: int, swarm_round: int, listed: int) -> None:
    assert listed_under(round, swarm_round=swarm_round) == listed
    assert is_listed_rightly(round, listed)


@pytest.mark.parametrize(
    ("round", "listed"),
    [
        pytest.param(5, 4, id="before its time"),
        pytest.param(5, 6 + MAX_ROUNDS_LATE, id="far too late"),
        pytest.param(interim_round(5, 2), 5, id="an interim round among the contract's"),
        pytest.param(interim_round(5, 2), interim_round(5, 2), id="not where interim rounds are"),
        pytest.param(5, interim_round(5, 1), id="a contract round among the interim ones"),
        pytest.param(interim_round(6, 2), interim_round(5, 1), id="of another contract round"),
    ],
)
def test_a_place_where_a_share_does_not_belong(round: int, listed: int) -> None:
    assert not is_listed_rightly(round, listed)


def test_interim_rounds_after_the_neighbouring_contract_rounds_are_looked_for_too() -> None:
    beside = places_beside(interim_round(12, 5))
    assert {contract_round(place) for place in beside} == {*range(4, 21)} - {12}
    assert all(interim_count(place) for place in beside)
    assert interim_round(0, 1) in places_beside(interim_round(3, 1))
    assert places_beside(12) == []


def test_all_interim_rounds_after_one_contract_round_share_a_place() -> None:
    assert len({place_of(interim_round(7, count)) for count in range(1, 50)}) == 1
    assert place_of(interim_round(7, 1)) != place_of(interim_round(8, 1))


@pytest.mark.parametrize(("number", "name"), [(12, "12"), (interim_round(12, 3), "12+3"), (interim_round(0, 1), "0+1")])
def test_how_a_round_is_named(number: int, name: str) -> None:
    assert round_name(number) == name
    assert interim_round(contract_round(number), interim_count(number)) == number

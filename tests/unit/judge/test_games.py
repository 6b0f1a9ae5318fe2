"""Games: what their clues say, how sure they make, and how a host is bound to them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from eth_utils import keccak

from rgym_exp.judge.commitment import (
    Opening,
    answer_text,
    is_opened_by,
    leaf,
    opening_of,
    read_opening,
    told_opening,
)
from rgym_exp.judge.games import DRAWS_BY_CLUE, Game, make_game, posterior

MANY = 200


def secret(number: int) -> bytes:
    return number.to_bytes(32, "big")


def draws_in(game: Game, clue: int) -> list[str]:
    """The draws that a clue shows, read as a player reads them: what stands in answer tags."""
    return re.findall("<answer>(.*?)</answer>", game.clues[clue])


def certainty_by_hand(game: Game, clue: int) -> Fraction:
    """Bayes' rule written out: P(draws | choice is the likely one), for each choice, one draw after the other."""
    likelihood = {}
    for likely in game.choices:
        likelihood[likely] = Fraction(1)
        for draw in draws_in(game, clue):
            likelihood[likely] *= Fraction(55, 100) if draw == likely else Fraction(15, 100)
    return likelihood[game.choices[game.answer]] / sum(likelihood.values())


@pytest.mark.parametrize("clues", [4, 5])
def test_the_answer_grows_more_likely_with_every_clue_and_is_nearly_sure_at_the_last(clues: int) -> None:
    for number in range(MANY):
        game = make_game(secret(number), clues=clues)
        certainty = [certainty_by_hand(game, clue) for clue in range(clues)]
        assert [float(value) for value in certainty] == list(game.certainty)
        assert all(before < after for before, after in zip([Fraction(1, 4), *certainty], certainty, strict=False))
        assert certainty[0] <= Fraction(3, 4)
        assert certainty[-1] > Fraction(9, 10)


def test_a_clue_shows_the_choices_and_the_draws_of_the_clue_before_and_more() -> None:
    for number in range(MANY):
        game = make_game(secret(number))
        shown = [draws_in(game, clue) for clue in range(5)]
        assert [len(draws) for draws in shown] == list(DRAWS_BY_CLUE[5])
        assert all(later[: len(earlier)] == earlier for earlier, later in zip(shown, shown[1:], strict=False))
        assert all(
            ", ".join(game.choices) in clue and set(draws_in(game, 4)) <= set(game.choices) for clue in game.clues
        )
        assert all(len(clue) < 1200 for clue in game.clues)


def test_choices_are_four_different_words_of_which_none_is_part_of_another() -> None:
    for number in range(MANY):
        choices = make_game(secret(number)).choices
        assert len(choices) == 4
        assert not any(one in other for one in choices for other in choices if one is not other)


def test_neither_place_nor_word_gives_the_answer_away() -> None:
    games = [make_game(secret(number)) for number in range(800)]
    places = Counter(game.answer for game in games)
    # Binomial with p = 1/4: four standard deviations are 49.
    assert all(abs(places[place] - 200) < 49 for place in range(4))
    answers = Counter(game.choices[game.answer] for game in games)
    assert len(answers) > 40
    assert max(answers.values()) < 100


def test_a_game_follows_from_its_secret_and_another_secret_gives_another_game() -> None:
    assert make_game(secret(1)) == make_game(secret(1))
    assert len({make_game(secret(number)).root for number in range(50)}) == 50


def test_a_secret_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        make_game(b"short")


def test_draws_that_say_nothing_leave_all_choices_equal() -> None:
    assert posterior([]) == posterior([0, 1, 2, 3]) == [Fraction(1, 4)] * 4
    # One draw of the first: 0.55 to 0.15 to 0.15 to 0.15.
    assert posterior([0]) == [Fraction(55, 100)] + [Fraction(15, 100)] * 3


# -------------------------------------------------------------- commitment


def changed(opening: Opening, **changes: Any) -> Opening:
    return dataclasses.replace(opening, **changes)


def test_the_root_is_that_of_a_tree_built_by_hand() -> None:
    salt = b"s" * 32
    root, _ = opening_of(salt=salt, clues=["one", "two"], choices=["a", "b"], answer=1)
    leaves = [keccak(b"\0" + salt + text.encode()) for text in ("one", "two", '{"answer":1,"choices":["a","b"]}')]
    left = keccak(b"\1" + leaves[0] + leaves[1])
    right = keccak(b"\1" + leaves[2] + keccak(b"\2"))
    assert root == keccak(b"\1" + left + right)


@pytest.mark.parametrize("clue_count", [1, 2, 3, 4, 5, 8, 63])
def test_an_opening_opens_the_root_it_was_made_with(clue_count: int) -> None:
    clues = [f"clue {number}" for number in range(clue_count)]
    root, opening = opening_of(salt=b"s" * 32, clues=clues, choices=["a", "b", "c"], answer=2)
    assert is_opened_by(root, opening)


def test_nothing_of_a_game_can_be_changed_after_its_start() -> None:
    game = make_game(secret(7))
    opening = game.opening
    assert is_opened_by(game.root, opening)
    other = make_game(secret(8))
    swapped = (opening.clues[1], opening.clues[0], *opening.clues[2:])
    wrong = {
        "another answer": changed(opening, answer=(game.answer + 1) % 4),
        "choices in another order": changed(opening, choices=opening.choices[::-1]),
        "another clue": changed(opening, clues=("It is red.", *opening.clues[1:])),
        "clues in another order": changed(opening, clues=swapped),
        "clues in another order, with their proofs": changed(
            opening, clues=swapped, proofs=(opening.proofs[1], opening.proofs[0], *opening.proofs[2:])
        ),
        "a clue left out": changed(opening, clues=opening.clues[:-1], proofs=opening.proofs[:-2] + opening.proofs[-1:]),
        "a clue too many": changed(opening, clues=(*opening.clues, "more")),
        "another salt": changed(opening, salt=b"x" * 32),
        "no proofs": changed(opening, proofs=((),) * 6),
        "another game": other.opening,
    }
    assert [name for name, opened in wrong.items() if is_opened_by(game.root, opened)] == []


def test_an_answer_can_not_be_guessed_from_the_tree_without_the_salt() -> None:
    game = make_game(secret(3))
    known = {sibling for proof in game.opening.proofs[:-1] for sibling in proof}
    for answer in range(4):
        text = answer_text(game.choices, answer)
        assert keccak(b"\0" + text.encode()) not in known
        assert leaf(b"\0" * 32, text) not in known


def test_an_opening_survives_the_way_through_json() -> None:
    game = make_game(secret(11))
    told = json.loads(json.dumps(told_opening(game.opening)))
    assert read_opening(told) == game.opening
    assert is_opened_by(game.root, read_opening(told))


@pytest.mark.parametrize(
    "change",
    [
        {"salt": "0x12"},
        {"salt": 5},
        {"salt": "no hex"},
        {"clues": [1, 2]},
        {"clues": None},
        {"answer": "1"},
        {"answer": True},
        {"answer": 4},
        {"answer": -1},
        {"proofs": [["0x12"]]},
        {"proofs": 3},
    ],
)
def test_what_is_no_opening_is_refused(change: dict[str, Any]) -> None:
    told = {**told_opening(make_game(secret(1)).opening), **change}
    with pytest.raises(ValueError):
        read_opening(told)


def test_an_opening_without_one_of_its_parts_is_refused() -> None:
    for name in ("salt", "clues", "choices", "answer", "proofs"):
        told = told_opening(make_game(secret(1)).opening)
        del told[name]
        with pytest.raises(ValueError, match="no opening"):
            read_opening(told)

"""The rules of play, on numbers worked by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgym_exp.judge.judge import Clue
from rgym_exp.judge.play import answer_texts, best_choice, clue_chat, stake_on


def clue_with(*, remaining: int = 2, choices: tuple[str, ...] = ("red", "blue")) -> Clue:
    return Clue(game=3, clue=1, rounds_remaining=remaining, text="Drawn so far: red, red, blue.", choices=choices)


def test_the_prompt_shows_the_clue_and_every_possible_answer() -> None:
    system, user = clue_chat(clue_with())
    assert (system["role"], user["role"]) == ("system", "user")
    assert "<answer>" in system["content"]
    assert user["content"] == "Drawn so far: red, red, blue.\n\nPossible answers:\n- red\n- blue"


def test_an_answer_is_a_choice_in_answer_tags() -> None:
    assert answer_texts(clue_with()) == ["<answer>red</answer>", "<answer>blue</answer>"]


@pytest.mark.parametrize(
    ("remaining", "balance", "stake"),
    [(4, 100, 25), (3, 100, 33), (1, 100, 100), (0, 100, 100), (5, 4, 0), (0, 0, 0), (-1, 7, 7), (2, -5, 0)],
)
def test_an_equal_part_of_the_balance_is_staked_for_each_clue_to_come(remaining: int, balance: int, stake: int) -> None:
    assert stake_on(clue_with(remaining=remaining), balance) == stake


@given(st.integers(0, 2**200), st.integers(0, 70))
def test_a_stake_is_a_whole_number_within_the_balance(balance: int, remaining: int) -> None:
    stake = stake_on(clue_with(remaining=remaining), balance)
    assert isinstance(stake, int)
    assert 0 <= stake <= balance


def test_the_choice_with_the_highest_score_is_the_best_and_the_first_of_equals() -> None:
    assert best_choice([-3.0, -1.0, -2.0]) == 1
    assert best_choice([-3.0, -1.0, -1.0]) == 1


@pytest.mark.parametrize("scores", [[], [-1.0, math.nan], [-1.0, -math.inf], [math.inf]])
def test_scores_that_are_no_numbers_say_nothing(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="say nothing"):
        best_choice(scores)

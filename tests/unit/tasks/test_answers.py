"""The answer inside a completion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reasoning_gym.utils import extract_answer as reference

from rgym_exp.tasks.answers import extract_answer


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("<answer>8</answer>", "8"),
        ("I think so. <answer> 8 </answer> Done.", "8"),
        ("<answer>7</answer> no, <answer>8</answer>", "8"),
        ("<answer>8</answer> <answer>", "8"),
        ("<answer>8</answer> stray </answer>", "8"),
        ("<answer>1 0\n0 1</answer>", "1 0\n0 1"),
        ("<answer></answer>", ""),
        ("8", None),
        ("</answer>8<answer>", None),
        ("<answer>8", None),
        ("", None),
    ],
)
def test_the_answer_is_what_the_last_complete_pair_of_tags_encloses(completion: str, answer: str | None) -> None:
    assert extract_answer(completion, "answer") == answer


@given(st.lists(st.sampled_from(["<answer>", "</answer>", " ", "8", "x y", "\n"]), max_size=12).map("".join))
def test_wherever_tags_are_not_nested_the_answer_is_the_one_reasoning_gym_finds(completion: str) -> None:
    expected = reference(completion)
    if expected is None:
        assert extract_answer(completion, "answer") is None
    elif "<answer>" not in expected:
        assert extract_answer(completion, "answer") == expected


def test_a_completion_full_of_opening_tags_costs_linear_time() -> None:
    # A backtracking search would take the square of a million steps here, and never end within the test's time limit.
    assert extract_answer("<answer>" * 1_000_000, "answer") is None

"""Which problem a slot gets, and which problems are held out."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from rgym_exp.errors import TasksError
from rgym_exp.tasks.drawing import (
    HELD_OUT_ONE_IN,
    INDEX_RANGE,
    Item,
    ItemAt,
    choose,
    draw_judged_item,
    draw_training_item,
    held_out_items,
    is_held_out,
)


def numbers_below(limit: int) -> list[str]:
    return [f"Number {n}" for n in range(limit)]


def dataset_of(questions: list[str]) -> ItemAt:
    def item_at(dataset: str, index: int) -> Item:
        assert 0 <= index < INDEX_RANGE
        return {"question": f"{dataset}: {questions[index % len(questions)]}", "answer": "", "metadata": {}}

    return item_at


def training_question(
    slot: int, questions: list[str], *, peer_id: str = "A", round: int = 0, swarm_id: str = "s"
) -> str:
    _, item = draw_training_item(
        {"numbers": 1.0}, dataset_of(questions), swarm_id=swarm_id, round=round, peer_id=peer_id, slot=slot
    )
    return str(item["question"])


def test_a_draw_depends_on_each_of_swarm_round_peer_and_slot() -> None:
    many = numbers_below(100_000)
    base = training_question(0, many)
    others = [
        training_question(1, many),
        training_question(0, many, peer_id="B"),
        training_question(0, many, round=1),
        training_question(0, many, swarm_id="t"),
    ]
    assert training_question(0, many) == base
    assert len({base, *others}) == 5


def test_a_draw_is_the_same_for_ever() -> None:
    # Changing this breaks every running swarm: raise DRAWING_VERSION with it.
    assert (
        training_question(3, numbers_below(1000), peer_id="QmPeer", round=7, swarm_id="local") == "numbers: Number 179"
    )


@pytest.mark.parametrize("range_size", [24, 63, 10_000])
def test_no_training_draw_is_ever_held_out_however_small_the_range(range_size: int) -> None:
    questions = numbers_below(range_size)
    trained = {training_question(slot, questions) for slot in range(3000)}
    held_out = {item["question"] for _, item in held_out_items({"numbers": 1.0}, dataset_of(questions))}
    assert trained
    assert held_out
    assert not trained & held_out


def test_about_one_question_in_eight_is_held_out() -> None:
    share = sum(is_held_out(question) for question in numbers_below(20_000)) / 20_000
    # Binomial with p = 1/8: four standard deviations are 0.0094.
    assert abs(share - 1 / HELD_OUT_ONE_IN) < 0.0094


def test_held_out_items_never_repeat_and_end_when_there_are_no_more() -> None:
    questions = numbers_below(63)
    found = [item["question"] for _, item in held_out_items({"numbers": 1.0}, dataset_of(questions))]
    every = {f"numbers: {question}" for question in questions if is_held_out(f"numbers: {question}")}
    assert len(found) == len(set(found))
    assert set(found) == every


def test_held_out_datasets_take_turns_by_weight_and_a_longer_list_begins_with_the_shorter() -> None:
    weights = {"a": 2.0, "b": 1.0, "c": 1.0}
    item_at = dataset_of(numbers_below(100_000))
    names = [name for name, _ in itertools.islice(held_out_items(weights, item_at), 40)]
    again = [name for name, _ in itertools.islice(held_out_items(weights, item_at), 8)]
    assert Counter(names) == {"a": 20, "b": 10, "c": 10}
    assert names[:8] == again


def test_a_dataset_without_training_questions_is_replaced_by_another_one() -> None:
    held_out = next(question for question in numbers_below(1000) if is_held_out(f"poor: {question}"))
    rich = dataset_of(numbers_below(1000))

    def item_at(dataset: str, index: int) -> Item:
        return rich(dataset, index) if dataset == "rich" else dataset_of([held_out])(dataset, index)

    drawn = {
        draw_training_item({"poor": 1.0, "rich": 1.0}, item_at, swarm_id="s", round=0, peer_id="A", slot=slot)[0]
        for slot in range(20)
    }
    assert drawn == {"rich"}


def test_a_mix_without_any_training_question_says_so() -> None:
    held_out = next(question for question in numbers_below(1000) if is_held_out(f"numbers: {question}"))
    with pytest.raises(TasksError, match="too few different questions"):
        training_question(0, [held_out])


def judged_item(number: int, questions: list[str]) -> tuple[str, Item]:
    return draw_judged_item({"numbers": 1.0}, dataset_of(questions), number=number)


@pytest.mark.parametrize("range_size", [24, 63, 10_000])
def test_a_judged_question_is_held_out_and_so_never_a_training_draw(range_size: int) -> None:
    questions = numbers_below(range_size)
    judged = {judged_item(number, questions)[1]["question"] for number in range(1500)}
    assert all(is_held_out(question) for question in judged)
    assert not judged & {training_question(slot, questions) for slot in range(3000)}


def test_a_judged_question_follows_from_its_number_whatever_its_size() -> None:
    many = numbers_below(100_000)
    numbers = [*range(50), 2**64, 2**256 - 1]
    drawn = [judged_item(number, many)[1]["question"] for number in numbers]
    assert drawn == [judged_item(number, many)[1]["question"] for number in numbers]
    # Birthday bound: 52 draws of some 12,500 held-out questions share one with probability 0.1.
    assert len(set(drawn)) >= 50


def test_judged_questions_come_from_the_datasets_in_proportion_to_their_weights() -> None:
    weights = {"a": 3.0, "b": 1.0}
    item_at = dataset_of(numbers_below(100_000))
    share = sum(draw_judged_item(weights, item_at, number=n)[0] == "a" for n in range(2000)) / 2000
    # Binomial with p = 3/4: four standard deviations are 0.039.
    assert abs(share - 0.75) < 0.039


def test_judged_draws_are_not_those_of_the_evaluation() -> None:
    def item_at(dataset: str, index: int) -> Item:
        return {"question": f"{dataset}: {index}", "answer": "", "metadata": {}}

    # Of 2^40 items, 500 and 500 draws share one with probability 2 in ten million, unless they are the same draws.
    evaluated = itertools.islice(held_out_items({"numbers": 1.0}, item_at), 500)
    judged = {draw_judged_item({"numbers": 1.0}, item_at, number=number)[1]["question"] for number in range(500)}
    assert not judged & {item["question"] for _, item in evaluated}


def test_a_mix_without_any_held_out_question_says_so() -> None:
    for_training = next(question for question in numbers_below(1000) if not is_held_out(f"numbers: {question}"))
    with pytest.raises(TasksError, match="too few different questions"):
        judged_item(0, [for_training])


def test_datasets_are_chosen_in_proportion_to_their_weights() -> None:
    # Of 400 equal steps through the range, a quarter belongs to the weight that is a quarter of the sum.
    counts = Counter(choose({"a": 3.0, "b": 1.0}, step * 2**64 // 400) for step in range(400))
    assert counts == {"a": 300, "b": 100}
    assert choose({"a": 3.0, "b": 1.0}, 2**64 - 1) == "b"

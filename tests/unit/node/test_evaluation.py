"""Held-out accuracy, and a judge's questions in the same batch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rgym_exp.judge.judge import Question
from rgym_exp.node.evaluation import LONGEST_BESIDE_BYTES, LONGEST_QUESTION_BYTES, Evaluation, Examined
from rgym_exp.training.policy import Chat
from simulation.memory_tasks import MemoryTasks
from tests.unit.node.conftest import ScriptedPolicy


class CountingPolicy(ScriptedPolicy):
    """Remembers the last message of each chat of each greedy call; answers a judge's question with its first word."""

    def __init__(self, right_every: int = 1) -> None:
        super().__init__(right_every)
        self.batches: list[list[str]] = []

    def greedy(self, prompts: Sequence[Chat]) -> list[str]:
        asked = [chat[-1]["content"] for chat in prompts]
        self.batches.append(asked)
        return [
            super(CountingPolicy, self).greedy([chat])[0] if "What is" in text else text.split()[0]
            for chat, text in zip(prompts, asked, strict=True)
        ]


def question(text: str, session: str = "1") -> Question:
    return Question(session_id=session, text=text)


def test_a_policy_that_knows_everything_scores_one_and_one_that_knows_nothing_zero() -> None:
    evaluation = Evaluation(MemoryTasks(), items=8, every_rounds=2)
    assert evaluation.accuracy(ScriptedPolicy(right_every=1)) == 1
    assert evaluation.accuracy(ScriptedPolicy(right_every=0)) == 0


def test_it_is_due_every_so_many_steps_and_at_the_last_one_and_never_when_turned_off() -> None:
    evaluation = Evaluation(MemoryTasks(), items=4, every_rounds=3)
    assert [step for step in range(1, 9) if evaluation.is_due(step, last_step=8)] == [3, 6, 8]
    off = Evaluation(MemoryTasks(), items=4, every_rounds=0)
    assert not off.is_on
    assert not any(off.is_due(step, last_step=6) for step in range(1, 7))


def test_the_judges_questions_are_answered_in_one_batch_with_the_held_out_problems() -> None:
    policy = CountingPolicy()
    questions = [question("Spell a word.", "a"), question("Count to 3.", "b")]
    examined = Evaluation(MemoryTasks(), items=8, every_rounds=2).examine(policy, held_out=True, questions=questions)
    assert examined == Examined(held_out=1.0, answers=[(questions[0], "Spell"), (questions[1], "Count")])
    assert [len(batch) for batch in policy.batches] == [10]


def test_without_held_out_problems_due_only_the_questions_are_answered() -> None:
    policy = CountingPolicy()
    for every_rounds in (0, 2):
        evaluation = Evaluation(MemoryTasks(), items=8, every_rounds=every_rounds)
        examined = evaluation.examine(policy, held_out=not every_rounds, questions=[question("Count to 3.")])
        assert examined == Examined(held_out=None, answers=[(question("Count to 3."), "Count")])
    assert [len(batch) for batch in policy.batches] == [1, 1]


def test_with_nothing_to_ask_the_policy_is_left_alone() -> None:
    policy = CountingPolicy()
    evaluation = Evaluation(MemoryTasks(), items=8, every_rounds=2)
    assert evaluation.examine(policy, held_out=False) == Examined(held_out=None, answers=[])
    assert policy.batches == []


def test_a_question_is_put_to_the_model_in_the_words_of_any_problem() -> None:
    tasks = MemoryTasks()
    policy = CountingPolicy()
    text = tasks.held_out(1)[0].question
    Evaluation(tasks, items=1, every_rounds=1).examine(policy, held_out=True, questions=[question(text)])
    assert policy.batches[0][0] == policy.batches[0][1]


def test_long_questions_do_not_widen_the_batch_and_too_long_ones_are_left_out() -> None:
    policy = CountingPolicy()
    # "é" is two bytes: what counts is how many tokens there may be, not how many letters.
    questions = [
        question("a " + "x" * (LONGEST_BESIDE_BYTES - 2), "beside"),
        question("b " + "é" * (LONGEST_BESIDE_BYTES // 2), "apart"),
        question("c " + "é" * (LONGEST_QUESTION_BYTES // 2), "left out"),
        question("d " + "x" * (LONGEST_QUESTION_BYTES - 2), "apart too"),
        question("e \ud800", "no text"),
    ]
    examined = Evaluation(MemoryTasks(), items=8, every_rounds=1).examine(policy, held_out=True, questions=questions)
    assert [(asked.session_id, answer) for asked, answer in examined.answers] == [
        ("beside", "a"), ("apart", "b"), ("apart too", "d"),
    ]  # fmt: skip
    assert [len(batch) for batch in policy.batches] == [9, 2]
    assert examined.held_out == 1.0


def test_accuracy_where_evaluation_is_off_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="evaluation is off"):
        Evaluation(MemoryTasks(), items=4, every_rounds=0).accuracy(ScriptedPolicy())

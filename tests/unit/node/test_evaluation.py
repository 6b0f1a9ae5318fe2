"""Held-out accuracy."""

from __future__ import annotations

from rgym_exp.node.evaluation import Evaluation
from rgym_exp.tasks.source import MemoryTasks
from tests.unit.node.conftest import ScriptedPolicy


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

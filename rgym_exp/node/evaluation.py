"""Held-out accuracy: how well the model answers problems that training never draws."""

from __future__ import annotations

from rgym_exp.tasks.source import TaskSource
from rgym_exp.training.policy import Policy


class Evaluation:
    """Greedy accuracy on a fixed set of held-out problems."""

    def __init__(self, tasks: TaskSource, *, items: int, every_rounds: int) -> None:
        self._tasks = tasks
        self._every_rounds = every_rounds
        self._problems = tasks.held_out(items) if every_rounds else []

    def is_due(self, step: int, last_step: int) -> bool:
        """Whether the round that was this optimizer step ends with an evaluation; the last of a run always does."""
        return bool(self._problems) and (step % self._every_rounds == 0 or step == last_step)

    def accuracy(self, policy: Policy) -> float:
        """Mean score of the greedy answers, in [0, 1]."""
        answers = policy.greedy([self._tasks.messages(problem) for problem in self._problems])
        scores = self._tasks.score(list(zip(self._problems, answers, strict=True)))
        return sum(scores) / len(scores)

    @property
    def is_on(self) -> bool:
        """Whether there is anything to evaluate."""
        return bool(self._problems)

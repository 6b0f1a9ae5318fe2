"""What the model is examined in: held-out problems, which training never draws, and a judge's questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rgym_exp.judge.judge import Question
from rgym_exp.tasks.source import TaskSource
from rgym_exp.training.policy import Chat, Policy
from rgym_exp.types import Problem

LONGEST_QUESTION_BYTES = 2_000
"""Longer questions of a judge aren't answered: a stranger doesn't decide how much memory an answer takes."""
LONGEST_BESIDE_BYTES = 500
"""A batch is padded to its longest prompt, so one long question beside 64 short problems would cost as much as 64."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What came of an examination."""

    held_out: float | None
    """Mean score of the greedy answers to the held-out problems, in [0, 1]; None where they weren't asked."""
    answers: list[tuple[Question, str]]
    """The judge's questions that could be answered, each with the model's greedy answer."""


class Evaluation:
    """Greedy answers to a fixed set of held-out problems, and to whatever a judge asks."""

    def __init__(self, tasks: TaskSource, *, items: int, every_rounds: int) -> None:
        self._tasks = tasks
        self._every_rounds = every_rounds
        self._problems = tasks.held_out(items) if every_rounds else []

    def is_due(self, step: int, last_step: int) -> bool:
        """Whether the round that was this optimizer step ends with an evaluation; the last of a run always does."""
        return bool(self._problems) and (step % self._every_rounds == 0 or step == last_step)

    def examine(self, policy: Policy, *, held_out: bool, questions: Sequence[Question] = ()) -> Examined:
        """Have the held-out problems (where there are any) and the questions answered, in one batched call.

        Long questions go in a call of their own, and too long ones are left out.
        """
        problems = self._problems if held_out else []
        beside = [question for question in questions if _size(question) <= LONGEST_BESIDE_BYTES]
        apart = [question for question in questions if LONGEST_BESIDE_BYTES < _size(question) <= LONGEST_QUESTION_BYTES]
        chats = [self._tasks.messages(problem) for problem in problems]
        texts = _greedy(policy, [*chats, *self._chats(beside)])
        known, asked = texts[: len(problems)], texts[len(problems) :]
        asked += _greedy(policy, self._chats(apart))
        return Examined(
            held_out=self._mean_score(problems, known) if problems else None,
            answers=list(zip([*beside, *apart], asked, strict=True)),
        )

    def accuracy(self, policy: Policy) -> float:
        """Mean score of the greedy answers to the held-out problems, in [0, 1]; only where ``is_on``."""
        found = self.examine(policy, held_out=True).held_out
        if found is None:
            raise ValueError("There are no held-out problems: evaluation is off (eval.every_rounds is 0).")
        return found

    @property
    def is_on(self) -> bool:
        """Whether there are held-out problems."""
        return bool(self._problems)

    def _mean_score(self, problems: Sequence[Problem], answers: Sequence[str]) -> float:
        scores = self._tasks.score(list(zip(problems, answers, strict=True)))
        return sum(scores) / len(scores)

    def _chats(self, questions: Sequence[Question]) -> list[Chat]:
        """Questions as the node puts any problem to the model, so that its answer is in the form it learns."""
        return [
            self._tasks.messages(Problem(slot=-1, dataset="judge", question=question.text, entry={}))
            for question in questions
        ]


def _greedy(policy: Policy, chats: Sequence[Chat]) -> list[str]:
    return policy.greedy(chats) if chats else []


def _size(question: Question) -> int:
    """In bytes: no tokenizer makes more tokens than these."""
    try:
        return len(question.text.encode())
    except UnicodeEncodeError:  # Half a surrogate pair, which no tokenizer takes.
        return LONGEST_QUESTION_BYTES + 1

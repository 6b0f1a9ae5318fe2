"""Tasks on which a model that knows nothing earns about every second reward, so that hardly a group has
zero advantage: begin the answer with one of the letters asked for, which are half of all there are."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence

from rgym_exp.tasks.source import HELD_OUT_SLOT
from rgym_exp.types import Problem

LETTERS = string.ascii_letters + string.digits + string.punctuation
"""Every character that counts as a letter here."""


class LetterTasks:
    """A ``TaskSource`` without reasoning-gym and scoring sandbox; named in a configuration by ``_target_``."""

    DIGEST = "1e77e2" * 8

    def __init__(self, *, max_completion_length: int = 8) -> None:
        """``max_completion_length`` is in tokens."""
        self.digest = self.DIGEST
        self.max_completion_length = max_completion_length

    def problem(self, *, swarm_id: str, round: int, peer_id: str, slot: int) -> Problem:
        """See ``TaskSource.problem``."""
        return _problem(slot, f"{swarm_id}/{round}/{peer_id}/{slot}")

    def held_out(self, count: int) -> list[Problem]:
        """See ``TaskSource.held_out``."""
        return [_problem(HELD_OUT_SLOT, f"held out/{number}") for number in range(count)]

    def messages(self, problem: Problem) -> list[dict[str, str]]:
        """See ``TaskSource.messages``."""
        return [{"role": "user", "content": problem.question}]

    def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
        """See ``TaskSource.score``. An answer without any letter gets 0."""
        return [float(_first_letter(text) in problem.entry["letters"]) for problem, text in answers]

    def close(self) -> None:
        """Nothing to end."""


def _problem(slot: int, seed: str) -> Problem:
    asked_for = sorted(random.Random(seed).sample(LETTERS, len(LETTERS) // 2))
    return Problem(slot=slot, dataset="letters", question="".join(asked_for), entry={"letters": frozenset(asked_for)})


def _first_letter(text: str) -> str:
    return next((character for character in text if character in LETTERS), "")

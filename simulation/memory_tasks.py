"""Tasks without reasoning-gym."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rgym_exp.tasks.answers import extract_answer
from rgym_exp.tasks.drawing import Item, draw_judged_item, draw_training_item, held_out_items
from rgym_exp.tasks.source import HELD_OUT_SLOT, chat_of, digest_of, problem_of
from rgym_exp.types import Problem


class MemoryTasks:
    """Small sums, scored in this process by comparing texts: for tests and simulations, without reasoning-gym."""

    def __init__(self, *, largest: int = 50, max_completion_length: int = 16) -> None:
        """Sums of two numbers from 0 to ``largest``."""
        self._largest = largest
        self.max_completion_length = max_completion_length
        self.digest = digest_of({"memory": largest})

    def problem(self, *, swarm_id: str, round: int, peer_id: str, slot: int) -> Problem:
        """See ``TaskSource.problem``."""
        dataset, item = draw_training_item(
            {"sum": 1.0}, self._item, swarm_id=swarm_id, round=round, peer_id=peer_id, slot=slot
        )
        return problem_of(slot, dataset, item)

    def held_out(self, count: int) -> list[Problem]:
        """See ``TaskSource.held_out``."""
        items = itertools.islice(held_out_items({"sum": 1.0}, self._item), count)
        return [problem_of(HELD_OUT_SLOT, dataset, item) for dataset, item in items]

    def judged(self, number: int) -> Problem:
        """See ``ReasoningGymTasks.judged``."""
        return problem_of(HELD_OUT_SLOT, *draw_judged_item({"sum": 1.0}, self._item, number=number))

    def messages(self, problem: Problem) -> list[dict[str, str]]:
        """See ``TaskSource.messages``."""
        return chat_of("Reply with the result inside <answer> tags.", (), problem.question)

    def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
        """See ``TaskSource.score``."""
        return [float(extract_answer(text, "answer") == problem.entry["answer"]) for problem, text in answers]

    def close(self) -> None:
        """Nothing to end."""

    def _item(self, dataset: str, index: int) -> Item:
        left, right = index % (self._largest + 1), index // (self._largest + 1) % (self._largest + 1)
        return {"question": f"What is {left} + {right}?", "answer": str(left + right), "metadata": {}}

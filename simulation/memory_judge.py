"""A judge in this process, for tests and simulations: what it asks, scores and hints at is what it was told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from rgym_exp.judge.judge import Clue, JudgeAway, Question


class MemoryJudge:
    """Judge that asks ``questions`` in turn. Safe to use from several threads."""

    def __init__(
        self,
        questions: Sequence[str] = ("What is 1 + 1?",),
        *,
        score: Callable[[Question, str], float] = lambda question, answer: 1.0,
        clue: Clue | None = None,
    ) -> None:
        """``score`` says what an answer is worth, in [0, 1]."""
        self.clue = clue
        """What ``current_clue`` gives; set it as the game goes on."""
        self.away = ""
        """While this says why, every call raises JudgeAway with it."""
        self.asked: list[tuple[str, int, str]] = []
        """(user id, round, model name) of every question given."""
        self.answers: list[tuple[Question, int, str]] = []
        """(question, round, answer) as handed in."""
        self.closed = False
        self._questions = tuple(questions)
        self._score = score
        self._lock = threading.Lock()

    def ask(self, *, user_id: str, round: int, model_name: str) -> Question:
        """See ``Judge.ask``."""
        with self._lock:
            self._check()
            number = len(self.asked)
            self.asked.append((user_id, round, model_name))
            return Question(session_id=f"session-{number}", text=self._questions[number % len(self._questions)])

    def submit(self, question: Question, *, round: int, answer: str) -> float:
        """See ``Judge.submit``."""
        with self._lock:
            self._check()
            self.answers.append((question, round, answer))
            return self._score(question, answer)

    def current_clue(self) -> Clue | None:
        """See ``Judge.current_clue``."""
        with self._lock:
            self._check()
            return self.clue

    def close(self) -> None:
        """See ``Judge.close``."""
        self.closed = True

    def _check(self) -> None:
        if self.away:
            raise JudgeAway(self.away)

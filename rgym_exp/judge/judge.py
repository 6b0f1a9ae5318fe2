"""The seam between a node and a judge: questions nobody trains on, their scores, and the market's clues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rgym_exp.errors import SwarmUserError


class JudgeAway(SwarmUserError):
    """The judge gave nothing that can be used: no answer, a failure of its own, a refusal, or what no judge says.

    Every way in which a judge can be wrong is this one error, because a node does the same about all of them: goes on
    without it and asks again later.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        """How long the judge itself asks to be left alone; None when it doesn't say."""


class JudgeRefusal(JudgeAway):
    """The judge heard this one request and refuses it (an expired session, say); others may go through."""


class UnknownRequest(JudgeRefusal):
    """The judge knows nothing of what was asked for: a session, or this kind of request."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question of the judge, to be answered within its session."""

    session_id: str | int
    """As the judge gave it, and is given it back."""
    text: str
    """As a problem's question; the node puts it into its own chat."""


@dataclass(frozen=True, kw_only=True)
class Clue:
    """What the prediction market's current game has made known so far."""

    game: int
    clue: int
    """Which of the game's clues, counted from 0: the round of the game on the contract."""
    rounds_remaining: int
    """Clues that can still be bet on: our judge counts this one, and others may not."""
    text: str
    choices: tuple[str, ...]


class Judge(Protocol):
    """An evaluation service. Blocking: called from background threads, several at once, never from a round."""

    def ask(self, *, user_id: str, round: int, model_name: str) -> Question:
        """A new question for this peer (``user_id`` is its peer id). Raises JudgeAway."""
        ...

    def submit(self, question: Question, *, round: int, answer: str) -> float:
        """Hand in the model's answer; its score in [0, 1]. Raises JudgeAway."""
        ...

    def current_clue(self) -> Clue | None:
        """The clue of the game that is running; None when none is. Raises JudgeAway."""
        ...

    def close(self) -> None:
        """Called once at the end, by whoever made it; a call of another thread may still be under way."""
        ...


@runtime_checkable
class JudgeOfMany(Protocol):
    """A judge that takes a round's questions, and their answers, in one request each. Others are asked one by one."""

    def ask_many(self, *, user_id: str, round: int, model_name: str, count: int) -> list[Question]:
        """Up to ``count`` new questions for this peer. Raises JudgeAway."""
        ...

    def submit_many(self, answers: Sequence[tuple[Question, str]], *, round: int) -> list[float | JudgeRefusal]:
        """The score of each answer in [0, 1], or why it has none. Raises JudgeAway when nothing was taken."""
        ...

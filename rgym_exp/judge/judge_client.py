"""What a node's rounds have of a judge: its questions, fetched in the background, and the scores of their answers.

Nothing here waits for the judge or raises for its sake: a round without questions is a round like any other.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from rgym_exp.base.back_off import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, BackOff
from rgym_exp.base.background import Background
from rgym_exp.judge.judge import Judge, JudgeAway, JudgeOfMany, JudgeRefusal, Question

logger = logging.getLogger("rl_swarm.judge")

CLOSING_SECONDS = 1.0
MAX_WAITING = 4
"""Batches of answers on their way; more can only be of a judge that hangs."""

Answer = tuple[Question, str]


class JudgeClient:
    """Asks ``questions`` questions in every ``every_rounds``-th round, and hands in their answers.

    What was asked for in one round is handed out until something new is asked for: a judge slower than the rounds gets
    its answers late, and under the round that it was asked in. While anything is under way, nothing new is asked.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        user_id: str,
        model_name: str,
        every_rounds: int,
        questions: int,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Start the thread; nothing is asked before ``begin``.

        Args:
            user_id: as whom to ask: this node's peer id.
            every_rounds: 0 turns asking off.
            first_pause_seconds: after a failure; doubles with every further one.
            jitter: a number in [0, 1), so that the nodes of a swarm don't all come back at once.
        """
        self._judge = judge
        self._user_id = user_id
        self._model_name = model_name
        self._every_rounds = every_rounds
        self._wanted = questions
        self._back_off = BackOff(
            logger,
            works="The judge answers again.",
            first_seconds=first_pause_seconds,
            longest_seconds=longest_pause_seconds,
            clock=clock,
            jitter=jitter,
        )
        self._background = Background("rl-swarm-judge")
        self._lock = threading.Lock()
        self._arrived: list[Question] = []
        self._asked_in: dict[str | int, int] = {}
        """Round by session, of the questions that were asked for last."""
        self._scores: list[float] = []
        self._under_way: list[Future[None]] = []
        self._closed = False

    def begin(self, round: int, step: int) -> None:
        """A round begins, which will be this optimizer step: ask for its questions, if any are due.

        Not while the judge is away, and not while earlier questions or answers are still on their way.
        """
        if not self._every_rounds or step % self._every_rounds:
            return
        with self._lock:
            if self._closed or self._busy() or not self._back_off.may_ask:
                return
            self._arrived.clear()
            self._asked_in.clear()
            self._under_way.append(self._background.submit(lambda: self._ask(round)))

    def questions(self) -> list[Question]:
        """The questions that have arrived; each is handed out once."""
        with self._lock:
            arrived, self._arrived = self._arrived, []
            return arrived

    def submit(self, answers: Sequence[Answer], *, round: int) -> None:
        """Hand in answers; ``round`` is for those to questions that came from elsewhere."""
        if not answers:
            return
        with self._lock:
            if self._closed or self._busy() > MAX_WAITING:
                return
            dated = [(self._asked_in.get(question.session_id, round), question, text) for question, text in answers]
            self._under_way.append(self._background.submit(lambda: self._hand_in(dated)))

    def take_scores(self) -> list[float]:
        """Scores, in [0, 1], that arrived since the last call."""
        with self._lock:
            scores, self._scores = self._scores, []
            return scores

    def close(self) -> None:
        """Ask no more; answers on their way get a moment. The judge itself is whoever's made it to close."""
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            self._background.close(timeout_seconds=CLOSING_SECONDS)

    def _busy(self) -> int:
        self._under_way = [future for future in self._under_way if not future.done()]
        return len(self._under_way)

    def _ask(self, round: int) -> None:
        """One request where the judge takes several questions at once, else one after the other."""
        judge, missing = self._judge, self._wanted
        while missing > 0:
            with self._lock:
                if self._closed:
                    return
            try:
                asking: dict[str, Any] = {"user_id": self._user_id, "round": round, "model_name": self._model_name}
                if isinstance(judge, JudgeOfMany):
                    questions, missing = judge.ask_many(**asking, count=missing), 0
                else:
                    questions, missing = [judge.ask(**asking)], missing - 1
                if not all(_is_sound(question) for question in questions):
                    raise TypeError("ask returned something else than a Question with text and session")
            except Exception as error:  # Somebody's own kind of judge may raise anything.
                self._went_wrong(error)
                return
            self._back_off.worked()
            with self._lock:
                self._arrived += questions
                self._asked_in.update({question.session_id: round for question in questions})

    def _hand_in(self, answers: Sequence[tuple[int, Question, str]]) -> None:
        refusals: list[str] = []
        try:
            for result in self._results(answers):
                if isinstance(result, JudgeRefusal):
                    refusals.append(str(result))
                    continue
                if not 0 <= float(result) <= 1:
                    raise ValueError(f"submit returned {result}, which is no score from 0 to 1")
                self._back_off.worked()
                with self._lock:
                    self._scores.append(float(result))
        except Exception as error:  # As above. The sessions of what is left run out by themselves.
            self._went_wrong(error)
        if refusals:
            logger.info("%d of %d answers don't count: %s", len(refusals), len(answers), refusals[0])

    def _results(self, answers: Sequence[tuple[int, Question, str]]) -> Iterator[float | JudgeRefusal]:
        """The score of each answer, or why it has none, as they come in. Raises what the judge raises."""
        judge = self._judge
        if isinstance(judge, JudgeOfMany):
            for round, group in itertools.groupby(answers, key=lambda answer: answer[0]):
                pairs = [(question, text) for _, question, text in group]
                results = judge.submit_many(pairs, round=round)
                if len(results) != len(pairs):
                    raise ValueError(f"submit_many returned {len(results)} scores for {len(pairs)} answers")
                yield from results
            return
        for round, question, text in answers:
            try:
                yield float(judge.submit(question, round=round, answer=text))
            except JudgeRefusal as refusal:
                yield refusal

    def _went_wrong(self, error: Exception) -> None:
        if isinstance(error, JudgeAway):
            self._back_off.failed(error, wished_seconds=error.retry_after_seconds)
        else:
            logger.debug("The judge failed.", exc_info=error)
            kind = type(self._judge).__name__
            self._back_off.failed(f"The judge ({kind}) failed with {type(error).__name__}: {error}.")


def _is_sound(question: Any) -> bool:
    return (
        isinstance(question, Question) and isinstance(question.session_id, str | int) and isinstance(question.text, str)
    )

"""What blocks of a judge's work: drawing questions, scoring answers, keeping the record; all in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from rgym_exp.base.background import Background
from rgym_exp.errors import SwarmUserError
from rgym_exp.judge.judge_record import HandedOut, JudgedAnswer, JudgeRecord, RoundTally, Tally
from rgym_exp.judge.question_stock import Drawn
from rgym_exp.judge.sessions import Session
from rgym_exp.types import Problem

log = logging.getLogger("rl_swarm.judge")

CLOSE_SECONDS = 2.0


class QuestionSource(Protocol):
    """Where questions come from and how answers are scored. Blocking; used by one thread."""

    def judged(self, number: int) -> Problem:
        """The held-out problem with this number; any number is good. Raises a SwarmUserError when there is none."""
        ...

    def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
        """The score of each completion, in [0, 1], whatever it is. Raises a SwarmUserError when nothing can be."""
        ...

    def close(self) -> None:
        """Called once at the end."""
        ...


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One session's answer, to be scored."""

    session: Session
    problem: Problem | None
    """None where it is no longer remembered: it is drawn once more by its number."""
    text: str


class JudgeScorer:
    """Draws and scores in its thread, in the order in which it is asked to, and writes down what was handed out."""

    def __init__(self, *, open_source: Callable[[], QuestionSource], record_path: Path) -> None:
        """Nothing is loaded yet. ``open_source`` makes the source, in the thread; it may take seconds."""
        self._open_source = open_source
        self._record_path = record_path
        self._thread = Background("judge")
        self._loading: asyncio.Future[None] | None = None
        self._source: QuestionSource | None = None
        self._record: JudgeRecord | None = None
        self._handed_out: list[HandedOut] = []
        """Not yet in the record."""
        self._noting = threading.Lock()
        self._answers = 0
        self._troubled = False

    @property
    def ready(self) -> bool:
        """Whether questions can be drawn."""
        return self._source is not None

    @property
    def answers(self) -> int:
        """Answers ever scored, as far as the record has been opened."""
        return self._answers

    def tallies(self) -> Mapping[str, Tally]:
        """What every peer has scored; empty until the record has been opened. Blocking."""
        self._note_handed_out()
        return self._record.tallies() if self._record else {}

    def rounds_of(self, peer_id: str) -> list[RoundTally]:
        """What one peer has scored, by model and round. Blocking."""
        self._note_handed_out()
        return self._record.rounds_of(peer_id) if self._record else []

    async def load(self) -> None:
        """Open source and record; harmless when done twice. A failure is logged, and tried again at the next call."""
        if self._source is None:
            if self._loading is None or self._loading.done():
                self._loading = asyncio.wrap_future(self._thread.submit(self._load))
            await asyncio.shield(self._loading)

    def draw(self, count: int) -> Future[tuple[list[Drawn], float]]:
        """So many new questions, and the seconds of processor time that they took. Raises a SwarmUserError."""
        return self._thread.submit(partial(self._draw, count))

    def score(self, answers: Sequence[Answered]) -> Future[list[float]]:
        """The score of each, which is in the record by then. Raises a SwarmUserError when the source can't."""
        return self._thread.submit(partial(self._score, answers))

    def hand_out(self, sessions: Sequence[Session]) -> None:
        """Note one request's questions in the record soon, together with what others are handed out meanwhile."""
        first = sessions[0]
        with self._noting:
            begin = not self._handed_out
            self._handed_out.append(
                HandedOut(
                    time=time.time(),
                    peer_id=first.peer_id,
                    model_name=first.model_name,
                    round=first.round,
                    questions=len(sessions),
                )
            )
        if begin:
            self._thread.submit(self._note_handed_out)

    def troubled_by(self, error: SwarmUserError) -> None:
        """Log why nothing could be drawn or scored: one line, not one for everybody who asks."""
        self._tell(f"The judge can neither ask nor score just now: {error}")

    async def close(self) -> None:
        """End what scoring has started. Nothing can be drawn or scored afterwards."""
        self._thread.submit(self._unload)
        if not await asyncio.to_thread(self._thread.close, timeout_seconds=CLOSE_SECONDS):
            log.info("The judge's thread was still at work and is left behind.")

    def _tell(self, trouble: str) -> None:
        if not self._troubled:
            log.warning("%s", trouble)
        self._troubled = True

    # ------------------------------------------------------------ in the thread

    def _load(self) -> None:
        try:
            if self._record is None:
                self._record = JudgeRecord(self._record_path)
                self._answers = self._record.answer_count()
            self._source = self._open_source()
        except (SwarmUserError, OSError) as error:
            self._tell(f"This hub's judge can't be made ready, and nobody is evaluated: {error}")
        else:
            self._troubled = False

    def _unload(self) -> None:
        source, self._source = self._source, None
        record, self._record = self._record, None
        if source is not None:
            source.close()
        if record is not None:
            record.close()

    def _draw(self, count: int) -> tuple[list[Drawn], float]:
        began = time.thread_time()
        numbers = [secrets.randbits(256) for _ in range(count)]
        drawn = [Drawn(number=number, problem=self._source_now().judged(number)) for number in numbers]
        return drawn, time.thread_time() - began

    def _score(self, answers: Sequence[Answered]) -> list[float]:
        source = self._source_now()
        problems = [each.problem or source.judged(each.session.number) for each in answers]
        scores = source.score([(problem, each.text) for problem, each in zip(problems, answers, strict=True)])
        if self._record is not None:
            now = time.time()
            self._record.add(
                JudgedAnswer(
                    time=now,
                    session_id=each.session.session_id,
                    peer_id=each.session.peer_id,
                    model_name=each.session.model_name,
                    round=each.session.round,
                    dataset=problem.dataset,
                    score=score,
                )
                for each, problem, score in zip(answers, problems, scores, strict=True)
            )
        self._answers += len(answers)
        self._troubled = False
        return scores

    def _source_now(self) -> QuestionSource:
        if self._source is None:
            raise SwarmUserError("the judge is closed.")
        return self._source

    def _note_handed_out(self) -> None:
        """Write down what has been handed out. Also called from other threads: the record has a lock of its own."""
        if (record := self._record) is None:
            return
        with self._noting:
            handed_out, self._handed_out = self._handed_out, []
        if handed_out:
            record.asked(handed_out)

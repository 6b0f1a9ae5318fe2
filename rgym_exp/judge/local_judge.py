"""The judge that a host runs: held-out questions by session, scored in a sandbox of its own.

Nobody chooses a question: its number is drawn here and never leaves the process. Every question is one that training
draws leave out, on every node and for ever. Questions are drawn ahead, in a small part of a core's time; a swarm so
large that it asks for more gets some that other peers were asked too (``QuestionStock``).

A peer id here is a claim. The interface, which judges and clients of earlier swarms share, knows no signature, so
anybody may answer in anybody's name, well or badly. Therefore these scores are shown, and nothing is decided by them:
ranks, rewards and votes come from the chain, where writes are signed. A limit by address and peer keeps one stranger
from using up what a peer may ask, and ``Tally.asked`` shows who answers only the questions that suit them. Questions
can also be solved without any model; a score says something about peers that have no reason to cheat.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from rgym_exp.base.background import Background
from rgym_exp.errors import SwarmUserError
from rgym_exp.judge.judge_record import HandedOut, JudgedAnswer, JudgeRecord, RoundTally, Tally
from rgym_exp.judge.question_stock import Drawn
from rgym_exp.judge.questions_ahead import QuestionsAhead
from rgym_exp.judge.sessions import Session, SessionLimits, SessionRefused, Sessions
from rgym_exp.types import Problem

log = logging.getLogger("rl_swarm.judge")

MAX_PEER_ID_CHARS = 128
MAX_MODEL_NAME_CHARS = 200
MAX_SESSION_ID_CHARS = 200
MAX_ANSWER_BYTES = 16 * 1024
ROUNDS_BEHIND = 10
"""How old a round may be that is asked for. A node that falls behind jumps to the swarm's round."""
ROUNDS_AHEAD = 1
"""The host may learn of a round a moment after its peers."""
MAX_WAITING = 4096
"""Requests with answers on their way through the one thread that scores, a millisecond each, and requests that wait for
the first questions. Whoever goes away meanwhile makes room."""
MAX_WAITING_OF_ADDRESS = 256
MAX_AT_ONCE = 16
"""Questions, or answers, of one request."""
LOADING_DEADLINE_SECONDS = 8.0
"""How long a request waits for the questions to be ready, which take some seconds after the first one. Clients give up
after ten."""
RETRY_SECONDS = 5
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
class Asked:
    """A question as it is handed out."""

    session_id: str
    question: str
    round: int
    expires_at: float
    """Seconds since the epoch."""


class LocalJudge:
    """Asks and scores on an event loop; what blocks is done one after the other in a thread of its own."""

    def __init__(
        self,
        *,
        open_source: Callable[[], QuestionSource],
        record_path: Path,
        swarm_round: Callable[[], int],
        limits: SessionLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """Nothing is loaded yet: ``load`` does, or the first question.

        Args:
            open_source: makes the source; may take seconds. Called in the thread.
            record_path: the SQLite file of what is scored.
            swarm_round: the swarm's round as the host knows it; negative while unknown.
        """
        self._open_source = open_source
        self._record_path = record_path
        self._swarm_round = swarm_round
        self._sessions = Sessions(limits, clock=clock)
        self._questions = QuestionsAhead(
            lambda count: self._thread.submit(partial(self._draw, count)), on_trouble=self._troubled_by
        )
        self._thread = Background("judge")
        self._loading: asyncio.Future[None] | None = None
        self._source: QuestionSource | None = None
        self._record: JudgeRecord | None = None
        self._max_waiting = max_waiting
        self._waiting: Counter[str] = Counter()
        """Requests by address."""
        self._handed_out: list[HandedOut] = []
        """Not yet in the record."""
        self._noting = threading.Lock()
        self._answers = 0
        self._troubled = False

    @property
    def ready(self) -> bool:
        """Whether questions can be asked."""
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
        """Get ready; harmless when done twice. A failure is logged, and tried again when somebody asks."""
        if self._source is None:
            if self._loading is None or self._loading.done():
                self._loading = asyncio.wrap_future(self._thread.submit(self._load))
            await asyncio.shield(self._loading)
        if self._source is not None:  # Perhaps since whoever waited for it has gone.
            self._questions.begin()

    async def ask(self, *, peer_id: object, model_name: object, round: object, address: str) -> Asked:
        """A new session and its question. Raises SessionRefused."""
        asked = await self.ask_many(peer_id=peer_id, model_name=model_name, round=round, count=1, address=address)
        return asked[0]

    async def ask_many(
        self, *, peer_id: object, model_name: object, round: object, count: object, address: str
    ) -> list[Asked]:
        """So many new sessions with a question each, fewer where the peer may have no more. Raises SessionRefused."""
        peer_id = _text(peer_id, "user_id", at_least=1, at_most=MAX_PEER_ID_CHARS)
        model_name = _text(model_name, "model_name", at_least=0, at_most=MAX_MODEL_NAME_CHARS)
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_AT_ONCE:
            raise SessionRefused("malformed", f"count must be a whole number from 1 to {MAX_AT_ONCE}.")
        round = self._usable_round(round)
        if not self._questions.has(count):
            with self._waits(address):
                await self._questions_drawn(count)
        room = self._sessions.room(peer_id=peer_id, round=round, address=address)
        drawn = self._questions.take(min(count, room))
        sessions = [
            self._sessions.begin(
                peer_id=peer_id, model_name=model_name, round=round, address=address, number=each.number
            )
            for each in drawn
        ]
        self._hand_out(sessions)
        expires_at = time.time() + self._sessions.limits.lifetime_seconds
        return [
            Asked(session_id=session.session_id, question=each.problem.question, round=round, expires_at=expires_at)
            for session, each in zip(sessions, drawn, strict=True)
        ]

    async def submit(self, *, session_id: object, answer: object, address: str = "") -> float:
        """The score of the one answer that a session may have. Raises SessionRefused."""
        result = (await self.submit_many([(session_id, answer)], address=address))[0]
        if isinstance(result, SessionRefused):
            raise result
        return result

    async def submit_many(
        self, answers: Sequence[tuple[object, object]], *, address: str = ""
    ) -> list[float | SessionRefused]:
        """The scores of (session id, answer) pairs, or why one has none. Raises SessionRefused for all of them."""
        if not 1 <= len(answers) <= MAX_AT_ONCE:
            raise SessionRefused("malformed", f"One request takes 1 to {MAX_AT_ONCE} answers.")
        with self._waits(address):
            results: list[float | SessionRefused | None] = [None] * len(answers)
            taken: dict[int, tuple[Session, str]] = {}
            for place, (session_id, answer) in enumerate(answers):
                try:
                    taken[place] = self._taken(session_id, answer)
                except SessionRefused as refusal:
                    results[place] = refusal
            if taken:
                scores = await self._scored(list(taken.values()))
                for place, score in zip(taken, scores, strict=True):
                    results[place] = score
            return [result for result in results if result is not None]

    async def close(self) -> None:
        """End what scoring has started. Nothing can be asked afterwards."""
        await self._questions.close()
        self._thread.submit(self._unload)
        if not await asyncio.to_thread(self._thread.close, timeout_seconds=CLOSE_SECONDS):
            log.info("The judge's thread was still at work and is left behind.")

    def _usable_round(self, round: object) -> int:
        if not isinstance(round, int) or isinstance(round, bool) or round < 0:
            raise SessionRefused("malformed", "round_number must be a whole number, 0 or more.")
        current = self._swarm_round()
        if current < 0:
            raise _busy("The swarm's round is not known yet.")
        if not current - ROUNDS_BEHIND <= round <= current + ROUNDS_AHEAD:
            raise SessionRefused("malformed", f"The swarm is in round {current}: round_number must be near that.")
        return round

    def _taken(self, session_id: object, answer: object) -> tuple[Session, str]:
        """The session, answered from now on, and its answer as a scorer can read it. Raises SessionRefused."""
        session_id = _text(session_id, "session_id", at_least=1, at_most=MAX_SESSION_ID_CHARS)
        if not isinstance(answer, str) or len(answer.encode("utf-8", "surrogatepass")) > MAX_ANSWER_BYTES:
            raise SessionRefused("malformed", f"user_answer must be a text of at most {MAX_ANSWER_BYTES} bytes.")
        # Half a character, which JSON can spell: nothing that a scorer must be able to deal with.
        return self._sessions.answer(session_id), answer.encode("utf-8", "replace").decode()

    async def _scored(self, answers: Sequence[tuple[Session, str]]) -> list[float]:
        """Have them scored in the thread. Whoever doesn't wait for it (a client that is gone) may hand in again.

        Raises SessionRefused ("busy") when the source can't, and logs it once."""
        work = self._thread.submit(lambda: self._score(answers))
        try:
            return await asyncio.wrap_future(work)
        except BaseException as error:
            if isinstance(error, SwarmUserError) or work.cancelled():
                for session, _ in answers:
                    self._sessions.reopen(session)
            if not isinstance(error, SwarmUserError):
                raise
            self._troubled_by(error)
            raise _busy("The judge can't do that just now.") from error

    @contextmanager
    def _waits(self, address: str) -> Iterator[None]:
        """Count a request that waits. Raises SessionRefused ("busy") when too many do."""
        if self._waiting.total() >= self._max_waiting or self._waiting[address] >= MAX_WAITING_OF_ADDRESS:
            raise _busy("Too much is asked of the judge just now.")
        self._waiting[address] += 1
        try:
            yield
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]

    async def _questions_drawn(self, count: int) -> None:
        """Wait until there are so many. Raises SessionRefused ("busy") when it takes too long."""
        try:
            async with asyncio.timeout(LOADING_DEADLINE_SECONDS):
                await self.load()
                if self.ready:
                    await self._questions.until(count)
        except TimeoutError:
            pass
        if not self._questions.has(count):
            raise _busy("The judge is still getting its questions ready.")

    def _hand_out(self, sessions: Sequence[Session]) -> None:
        """Note it in the record soon, together with what others are handed out meanwhile."""
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

    def _troubled_by(self, error: SwarmUserError) -> None:
        self._tell(f"The judge can neither ask nor score just now: {error}")

    def _tell(self, trouble: str) -> None:
        """One line in the log, not one for everybody who asks."""
        if not self._troubled:
            log.warning("%s", trouble)
        self._troubled = True

    def _unload(self) -> None:
        source, self._source = self._source, None
        record, self._record = self._record, None
        if source is not None:
            source.close()
        if record is not None:
            record.close()

    def _draw(self, count: int) -> tuple[list[Drawn], float]:
        """New questions, and the seconds of processor time that they took."""
        began = time.thread_time()
        numbers = [secrets.randbits(256) for _ in range(count)]
        drawn = [Drawn(number=number, problem=self._source_now().judged(number)) for number in numbers]
        return drawn, time.thread_time() - began

    def _score(self, answers: Sequence[tuple[Session, str]]) -> list[float]:
        source = self._source_now()
        problems = [self._questions.problem(session.number) or source.judged(session.number) for session, _ in answers]
        scores = source.score([(problem, text) for problem, (_, text) in zip(problems, answers, strict=True)])
        if self._record is not None:
            now = time.time()
            self._record.add(
                JudgedAnswer(
                    time=now,
                    session_id=session.session_id,
                    peer_id=session.peer_id,
                    model_name=session.model_name,
                    round=session.round,
                    dataset=problem.dataset,
                    score=score,
                )
                for (session, _), problem, score in zip(answers, problems, scores, strict=True)
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


def _busy(message: str) -> SessionRefused:
    return SessionRefused("busy", f"{message} Try again in a few seconds.", retry_after_seconds=RETRY_SECONDS)


def _text(value: object, name: str, *, at_least: int, at_most: int) -> str:
    if not isinstance(value, str) or not at_least <= len(value) <= at_most or not (value.isprintable() or not value):
        raise SessionRefused("malformed", f"{name} must be printable text of {at_least} to {at_most} characters.")
    return value

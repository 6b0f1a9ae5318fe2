"""The judge that a host runs: held-out questions by session, scored in a sandbox of its own.

Nobody chooses a question: its number is a hash of the session, which is made here, and of a secret that never leaves
the process. Every question is one that training draws leave out, on every node and for ever.

A peer id here is a claim. The interface, which judges and clients of earlier swarms share, knows no signature, so
anybody may answer in anybody's name, well or badly. Therefore these scores are shown, and nothing is decided by them:
ranks, rewards and votes come from the chain, where writes are signed. A limit by address and peer keeps one stranger
from using up what a peer may ask, and ``Tally.asked`` shows who answers only the questions that suit them. Questions
can also be solved without any model; a score says something about peers that have no reason to cheat.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from rgym_exp.base.background import Background
from rgym_exp.errors import SwarmUserError
from rgym_exp.judge.judge_record import JudgedAnswer, JudgeRecord, RoundTally, Tally
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
MAX_WAITING = 32
"""Questions and answers on their way through the one thread that draws and scores."""
LOADING_DEADLINE_SECONDS = 4.0
"""How long a request waits for the questions to be ready, which take some seconds after the first one."""
RETRY_SECONDS = 5
CLOSE_SECONDS = 2.0

_T = TypeVar("_T")


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
        self._secret = secrets.token_bytes(32)
        self._thread = Background("judge")
        self._loading: asyncio.Future[None] | None = None
        self._source: QuestionSource | None = None
        self._record: JudgeRecord | None = None
        self._waiting = 0
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
        return self._record.tallies() if self._record else {}

    def rounds_of(self, peer_id: str) -> list[RoundTally]:
        """What one peer has scored, by model and round. Blocking."""
        return self._record.rounds_of(peer_id) if self._record else []

    async def load(self) -> None:
        """Get ready; harmless when done twice. A failure is logged, and tried again when somebody asks."""
        if self._source is not None:
            return
        if self._loading is None or self._loading.done():
            self._loading = asyncio.wrap_future(self._thread.submit(self._load))
        await asyncio.shield(self._loading)

    async def ask(self, *, peer_id: object, model_name: object, round: object, address: str) -> Asked:
        """A new session and its question. Raises SessionRefused."""
        peer_id = _text(peer_id, "user_id", at_least=1, at_most=MAX_PEER_ID_CHARS)
        model_name = _text(model_name, "model_name", at_least=0, at_most=MAX_MODEL_NAME_CHARS)
        round = self._usable_round(round)
        self._require_room()
        await self._require_ready()
        session = self._sessions.begin(peer_id=peer_id, model_name=model_name, round=round, address=address)
        problem = await self._in_thread(lambda: self._draw(session))
        return Asked(
            session_id=session.session_id,
            question=problem.question,
            round=session.round,
            expires_at=time.time() + self._sessions.limits.lifetime_seconds,
        )

    async def submit(self, *, session_id: object, answer: object) -> float:
        """The score of the one answer that a session may have. Raises SessionRefused."""
        session_id = _text(session_id, "session_id", at_least=1, at_most=MAX_SESSION_ID_CHARS)
        if not isinstance(answer, str) or len(answer.encode("utf-8", "surrogatepass")) > MAX_ANSWER_BYTES:
            raise SessionRefused("malformed", f"user_answer must be a text of at most {MAX_ANSWER_BYTES} bytes.")
        self._require_room()
        session = self._sessions.answer(session_id)
        # Half a character, which JSON can spell: nothing that a scorer must be able to deal with.
        text = answer.encode("utf-8", "replace").decode()
        try:
            return await self._in_thread(lambda: self._score(session, text))
        except SessionRefused:
            self._sessions.reopen(session)
            raise

    async def close(self) -> None:
        """End what scoring has started. Nothing can be asked afterwards."""
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

    def _require_room(self) -> None:
        if self._waiting >= MAX_WAITING:
            raise _busy("Too much is asked of the judge just now.")

    async def _require_ready(self) -> None:
        if self.ready:
            return
        self._waiting += 1
        try:
            await asyncio.wait_for(self.load(), LOADING_DEADLINE_SECONDS)
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1
        if not self.ready:
            raise _busy("The judge is still getting its questions ready.")

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Have it done in the thread. Raises SessionRefused ("busy") when the source can't, and logs it once."""
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(work))
        except SwarmUserError as error:
            self._tell(f"The judge can neither ask nor score just now: {error}")
            raise _busy("The judge can't do that just now.") from error
        finally:
            self._waiting -= 1

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

    def _draw(self, session: Session) -> Problem:
        problem = self._problem(session)
        if self._record is not None:
            self._record.asked(
                peer_id=session.peer_id, model_name=session.model_name, round=session.round, now=time.time()
            )
        return problem

    def _score(self, session: Session, answer: str) -> float:
        problem = self._problem(session)
        assert self._source is not None
        score = self._source.score([(problem, answer)])[0]
        if self._record is not None:
            self._record.add(
                JudgedAnswer(
                    time=time.time(),
                    session_id=session.session_id,
                    peer_id=session.peer_id,
                    model_name=session.model_name,
                    round=session.round,
                    dataset=problem.dataset,
                    score=score,
                )
            )
        self._answers += 1
        self._troubled = False
        return score

    def _problem(self, session: Session) -> Problem:
        """The session's problem, drawn anew each time: twenty thousand of them need not be kept."""
        if self._source is None:
            raise SwarmUserError("the judge is closed.")
        digest = hashlib.sha256(self._secret + bytes.fromhex(session.session_id)).digest()
        return self._source.judged(int.from_bytes(digest, "big"))


def _busy(message: str) -> SessionRefused:
    return SessionRefused("busy", f"{message} Try again in a few seconds.", retry_after_seconds=RETRY_SECONDS)


def _text(value: object, name: str, *, at_least: int, at_most: int) -> str:
    if not isinstance(value, str) or not at_least <= len(value) <= at_most or not (value.isprintable() or not value):
        raise SessionRefused("malformed", f"{name} must be printable text of {at_least} to {at_most} characters.")
    return value

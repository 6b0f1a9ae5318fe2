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
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rgym_exp.errors import SwarmUserError
from rgym_exp.judge.judge_record import RoundTally, Tally
from rgym_exp.judge.judge_scorer import Answered, JudgeScorer, QuestionSource
from rgym_exp.judge.questions_ahead import QuestionsAhead
from rgym_exp.judge.sessions import SessionLimits, SessionRefused, Sessions

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


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question as it is handed out."""

    session_id: str
    question: str
    round: int
    expires_at: float
    """Seconds since the epoch."""


class LocalJudge:
    """Hands out questions and takes answers, on an event loop. What blocks is the ``JudgeScorer``'s."""

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
        self._scorer = JudgeScorer(open_source=open_source, record_path=record_path)
        self._swarm_round = swarm_round
        self._sessions = Sessions(limits, clock=clock)
        self._questions = QuestionsAhead(self._scorer.draw, on_trouble=self._scorer.troubled_by)
        self._max_waiting = max_waiting
        self._waiting: Counter[str] = Counter()
        """Requests by address."""

    @property
    def ready(self) -> bool:
        """Whether questions can be asked."""
        return self._scorer.ready

    @property
    def answers(self) -> int:
        """Answers ever scored, as far as the record has been opened."""
        return self._scorer.answers

    def tallies(self) -> Mapping[str, Tally]:
        """What every peer has scored; empty until the record has been opened. Blocking."""
        return self._scorer.tallies()

    def rounds_of(self, peer_id: str) -> list[RoundTally]:
        """What one peer has scored, by model and round. Blocking."""
        return self._scorer.rounds_of(peer_id)

    async def load(self) -> None:
        """Get ready; harmless when done twice. A failure is logged, and tried again when somebody asks."""
        await self._scorer.load()
        if self.ready:  # Perhaps since whoever waited for it has gone.
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
        self._scorer.hand_out(sessions)
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
            taken: dict[int, Answered] = {}
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
        await self._scorer.close()

    def _usable_round(self, round: object) -> int:
        if not isinstance(round, int) or isinstance(round, bool) or round < 0:
            raise SessionRefused("malformed", "round_number must be a whole number, 0 or more.")
        current = self._swarm_round()
        if current < 0:
            raise _busy("The swarm's round is not known yet.")
        if not current - ROUNDS_BEHIND <= round <= current + ROUNDS_AHEAD:
            raise SessionRefused("malformed", f"The swarm is in round {current}: round_number must be near that.")
        return round

    def _taken(self, session_id: object, answer: object) -> Answered:
        """The session, answered from now on, and its answer as a scorer can read it. Raises SessionRefused."""
        session_id = _text(session_id, "session_id", at_least=1, at_most=MAX_SESSION_ID_CHARS)
        if not isinstance(answer, str) or len(answer.encode("utf-8", "surrogatepass")) > MAX_ANSWER_BYTES:
            raise SessionRefused("malformed", f"user_answer must be a text of at most {MAX_ANSWER_BYTES} bytes.")
        session = self._sessions.answer(session_id)
        # Half a character, which JSON can spell: nothing that a scorer must be able to deal with.
        text = answer.encode("utf-8", "replace").decode()
        return Answered(session=session, problem=self._questions.problem(session.number), text=text)

    async def _scored(self, answers: Sequence[Answered]) -> list[float]:
        """Have them scored. Whoever doesn't wait for it (a client that is gone) may hand in again.

        Raises SessionRefused ("busy") when the source can't, and logs it once."""
        work = self._scorer.score(answers)
        try:
            return await asyncio.wrap_future(work)
        except BaseException as error:
            if isinstance(error, SwarmUserError) or work.cancelled():
                for each in answers:
                    self._sessions.reopen(each.session)
            if not isinstance(error, SwarmUserError):
                raise
            self._scorer.troubled_by(error)
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


def _busy(message: str) -> SessionRefused:
    return SessionRefused("busy", f"{message} Try again in a few seconds.", retry_after_seconds=RETRY_SECONDS)


def _text(value: object, name: str, *, at_least: int, at_most: int) -> str:
    if not isinstance(value, str) or not at_least <= len(value) <= at_most or not (value.isprintable() or not value):
        raise SessionRefused("malformed", f"{name} must be printable text of {at_least} to {at_most} characters.")
    return value

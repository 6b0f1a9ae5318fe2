"""A judge over HTTP. It may be a stranger's: what it says is typed and bounded here, or refused with a sentence.

POST request-question/ {user_id, round_number, model_name}          -> {session_id, question, ...}
POST submit-answer/    {session_id, round_number, user_answer}      -> {score, ...}
POST request-questions/, submit-answers/: the same for several at once; a judge that doesn't know them gets the others
GET  current_clue/     -> {game_id, clue_id, rounds_remaining, clue, choices}; game_id -1: no game
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import requests

from rgym_exp.base.http_client import Answer, BoundedSession, fetch
from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.base.text import one_line
from rgym_exp.judge.judge import Clue, JudgeAway, JudgeRefusal, Question, UnknownRequest

logger = logging.getLogger("rl_swarm.judge")

MAX_ANSWER_BYTES = 256 * 1024
"""Of an HTTP answer, unpacked: 64 choices and a clue, with every letter spelt as \\uXXXX, and room."""
MAX_TEXT_BYTES = 8 * 1024
MAX_SESSION_ID = 200
MAX_CHOICES = 64
MAX_CHOICE = 200
MAX_NUMBER = 2**63 - 1
"""Of a game or clue: what the outbox's database holds."""
MAX_SUBMITTED_BYTES = 16 * 1024
"""Of a model's answer; what goes beyond is left out, as it says nothing more."""
MAX_MANY_BYTES = 1024 * 1024
"""Of an HTTP answer with several questions."""
MAX_SUBMITTED_BODY_BYTES = 400 * 1024
"""Of several answers in one request; longer ones are handed in one by one."""
MAX_RETRY_AFTER_SECONDS = 300.0
NO_GAME = -1


class HttpJudge:
    """Judge at ``base_url``. Nothing is asked before the first call; safe to use from several threads."""

    def __init__(self, base_url: str, *, timeout_seconds: float = 10.0) -> None:
        """``timeout_seconds`` is for a whole exchange, from the connection to the answer's last byte."""
        self.base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._per_thread = threading.local()
        self._knows_many = True
        """Until it says that it doesn't."""

    def ask(self, *, user_id: str, round: int, model_name: str) -> Question:
        """See ``Judge.ask``."""
        said = self._exchange(
            "request-question/", {"user_id": user_id, "round_number": round, "model_name": model_name}
        )
        return self._question(said)

    def submit(self, question: Question, *, round: int, answer: str) -> float:
        """See ``Judge.submit``."""
        said = self._exchange(
            "submit-answer/", {"session_id": question.session_id, "round_number": round, "user_answer": _cut(answer)}
        )
        return self._score(said)

    def ask_many(self, *, user_id: str, round: int, model_name: str, count: int) -> list[Question]:
        """See ``JudgeOfMany.ask_many``. Of a judge that knows no such request, one question at a time."""
        if self._knows_many:
            asking = {"user_id": user_id, "round_number": round, "model_name": model_name, "count": count}
            try:
                said = self._exchange("request-questions/", asking, max_bytes=MAX_MANY_BYTES)
            except UnknownRequest:
                self._knows_many = False
            else:
                return self._questions(said, count)
        return [self.ask(user_id=user_id, round=round, model_name=model_name) for _ in range(count)]

    def submit_many(self, answers: Sequence[tuple[Question, str]], *, round: int) -> list[float | JudgeRefusal]:
        """See ``JudgeOfMany.submit_many``."""
        told = [
            {"session_id": question.session_id, "round_number": round, "user_answer": _cut(answer)}
            for question, answer in answers
        ]
        if self._knows_many and len(json.dumps(told)) <= MAX_SUBMITTED_BODY_BYTES:
            try:
                said = self._exchange("submit-answers/", {"answers": told}, max_bytes=MAX_MANY_BYTES)
            except UnknownRequest:
                self._knows_many = False
            else:
                return self._scores(said, len(answers))
        results: list[float | JudgeRefusal] = []
        for question, answer in answers:
            try:
                results.append(self.submit(question, round=round, answer=answer))
            except JudgeRefusal as refusal:
                results.append(refusal)
        return results

    def current_clue(self) -> Clue | None:
        """See ``Judge.current_clue``."""
        match self._exchange("current_clue/", None):
            case {"game_id": int(game)} if game == NO_GAME:
                return None
            case {
                "game_id": int(game),
                "clue_id": int(clue),
                "rounds_remaining": int(remaining),
                "clue": str(text),
                "choices": list(choices),
            } if (
                all(_is_number(value) for value in (game, clue, remaining)) and _is_text(text) and _are_choices(choices)
            ):
                return Clue(game=game, clue=clue, rounds_remaining=remaining, text=text, choices=tuple(choices))
        self._is_senseless("a clue with its game and choices")

    def close(self) -> None:
        """Each thread's connection ends with its thread."""

    def _question(self, said: Any) -> Question:
        match said:
            case {"session_id": str() | int() as session_id, "question": str(text)} if (
                not isinstance(session_id, bool) and 1 <= len(str(session_id)) <= MAX_SESSION_ID and _is_text(text)
            ):
                return Question(session_id=session_id, text=text)
        self._is_senseless("a question with its session")

    def _questions(self, said: Any, count: int) -> list[Question]:
        match said:
            case {"questions": list(questions)} if 1 <= len(questions) <= count:
                return [self._question(each) for each in questions]
        self._is_senseless(f"1 to {count} questions")

    def _score(self, said: Any) -> float:
        match said:
            case {"score": int() | float() as score} if not isinstance(score, bool) and 0 <= score <= 1:
                return float(score)
        self._is_senseless("a score from 0 to 1")

    def _scores(self, said: Any, count: int) -> list[float | JudgeRefusal]:
        match said:
            case {"scores": list(scores)} if len(scores) == count:
                return [
                    JudgeRefusal(f"The judge at {self.base_url} refuses: {one_line(each['error'])}")
                    if isinstance(each, dict) and isinstance(each.get("error"), str)
                    else self._score(each)
                    for each in scores
                ]
        self._is_senseless(f"{count} scores")

    def _exchange(self, route: str, body: Mapping[str, Any] | None, *, max_bytes: int = MAX_ANSWER_BYTES) -> Any:
        """POST, or GET without a body; the parsed answer. Raises JudgeAway."""
        try:
            answer = self._fetch(
                f"{self.base_url}/{route}", None if body is None else json.dumps(body).encode(), max_bytes
            )
            if not 200 <= answer.status < 300:
                raise self._failure(answer.status, answer.headers, answer.body)
            return shallow_json(answer.body)
        except requests.exceptions.Timeout as error:
            raise JudgeAway(
                f"The judge at {self.base_url} gave no whole answer within {self._timeout_seconds:g} s."
            ) from error
        except requests.exceptions.RequestException as error:
            raise JudgeAway(f"No judge answers at {self.base_url} ({type(error).__name__}).") from error
        except ValueError as error:
            self._is_senseless(f"an answer at all ({one_line(str(error))})")

    def _fetch(self, url: str, data: bytes | None, max_bytes: int) -> Answer:
        """Over this thread's connection: a judge with a thousand peers has better to do than to open them. One that was
        closed meanwhile is opened anew, once. Raises like ``fetch``."""
        kept: BoundedSession | None = getattr(self._per_thread, "session", None)
        for session in (kept, BoundedSession(self.base_url)) if kept is not None else (BoundedSession(self.base_url),):
            try:
                self._per_thread.session = None
                answer = fetch(
                    url,
                    data=data,
                    headers={"accept": "application/json", "content-type": "application/json"},
                    max_bytes=max_bytes,
                    timeout_seconds=self._timeout_seconds,
                    session=session,
                )
            except requests.exceptions.Timeout:
                raise
            except requests.exceptions.ConnectionError as error:
                if session is not kept:
                    raise
                logger.debug("The judge has closed the kept connection (%s).", error)
            else:
                self._per_thread.session = session
                return answer
        raise AssertionError("the second session raises or answers")

    def _failure(self, status: int, headers: Mapping[str, str], content: bytes) -> JudgeAway:
        """The error for an answer that says no."""
        told = f": {reason}" if (reason := _reason(content)) else ""
        pause = _retry_after(headers.get("retry-after", ""))
        if 300 <= status < 400:
            return JudgeAway(
                f"The judge at {self.base_url} sends us elsewhere (status {status}), and redirects aren't followed: "
                "network.judge_url must be its own address."
            )
        if status == 429 or (status == 503 and pause is not None):
            return JudgeAway(
                f"The judge at {self.base_url} asks for a pause (status {status}{told}).",
                retry_after_seconds=pause or 0.0,
            )
        if status in (404, 405):
            return UnknownRequest(f"The judge at {self.base_url} doesn't know what we ask for (status {status}{told}).")
        if 400 <= status < 500:
            return JudgeRefusal(f"The judge at {self.base_url} refuses (status {status}{told}).")
        return JudgeAway(f"The judge at {self.base_url} has trouble of its own (status {status}{told}).")

    def _is_senseless(self, wanted: str) -> NoReturn:
        raise JudgeAway(
            f"What answers at {self.base_url} doesn't say {wanted}, as a judge does: it may be another program, or a "
            "judge of another version."
        )


def _cut(answer: str) -> str:
    return answer.encode(errors="replace")[:MAX_SUBMITTED_BYTES].decode(errors="ignore")


def _is_number(value: int) -> bool:
    return not isinstance(value, bool) and 0 <= value <= MAX_NUMBER


def _is_text(text: str) -> bool:
    try:
        return bool(text.strip()) and len(text.encode()) <= MAX_TEXT_BYTES
    except UnicodeEncodeError:  # Half a surrogate pair: no tokenizer takes it.
        return False


def _are_choices(choices: list[Any]) -> bool:
    return (
        2 <= len(choices) <= MAX_CHOICES
        and all(isinstance(choice, str) for choice in choices)
        and all(choice.isprintable() and choice.strip() and len(choice) <= MAX_CHOICE for choice in choices)
        and len({choice.strip() for choice in choices}) == len(choices)
    )


def _reason(content: bytes) -> str:
    """A failure's words, where it has any."""
    try:
        match shallow_json(content):
            case {"error": str(reason)} | {"detail": str(reason)}:
                return one_line(reason)
    except ValueError:
        pass
    return ""


def _retry_after(value: str) -> float | None:
    """Seconds of a Retry-After header, bounded; None for what isn't a number (a date isn't worth reading)."""
    try:
        seconds = float(value)
    except ValueError:
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS) if math.isfinite(seconds) else None

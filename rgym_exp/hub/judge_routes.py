"""The judge's HTTP routes, as clients of earlier swarms know them: questions, answers, clues; and a game's opening.

    POST /request-question/  {user_id, round_number, model_name} -> {session_id, question, round_number, expires_at}
    POST /submit-answer/     {session_id, user_answer, ...}      -> {session_id, score}
    POST /request-questions/ {user_id, round_number, model_name, count} -> {questions: [as above, ...]}
    POST /submit-answers/    {answers: [{session_id, user_answer}, ...]}
                                           -> {scores: [{session_id, score} or {session_id, error, status}, ...]}
    GET  /current_clue/      {game_id, clue_id, rounds_remaining, clue, choices}; game_id -1 when no game runs
    GET  /games/<id>         what is known of one of the last games: after its end also answer, salt and proofs

Also without the slash at the end. A refusal is ``{"error": "<sentence>"}`` with a status that says whose fault it is.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.hub.client_address import CLIENT
from rgym_exp.hub.rate_limit import RateLimit
from rgym_exp.judge.judge import Clue
from rgym_exp.judge.local_judge import MAX_AT_ONCE, Asked, LocalJudge
from rgym_exp.judge.sessions import Reason, SessionRefused

QUESTIONS_PER_SECOND = 100.0
"""Questions and answers per client address, half a millisecond of work each. A node has eight or so a round, so that
dozens behind one address still fit."""
QUESTION_BURST = 1000.0
"""Some dozens of nodes behind one address may begin a round together."""
MAX_QUESTION_BODY_BYTES = 4 * 1024
MAX_ANSWER_BODY_BYTES = 112 * 1024
"""Of an answer at its largest, with every byte spelt as six characters."""
MAX_ANSWERS_BODY_BYTES = 448 * 1024
"""Of several answers; a node with longer ones hands them in one by one."""
BODY_SECONDS = 20.0
"""For the whole body, once the headers are here."""
_MAX_BRACKETS = 8
_MAX_ANSWERS_BRACKETS = 2 + MAX_AT_ONCE
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
"""JSON's texts. The closing quote is optional, so that a text without one is passed over at once, not tried again from
every quote in it."""

STATUS: Mapping[Reason, int] = {
    "malformed": 400,
    "unknown": 404,
    "answered": 409,
    "expired": 410,
    "too many": 429,
    "busy": 503,
}
_NO_GAME: Mapping[str, Any] = {"game_id": -1, "clue_id": -1, "rounds_remaining": 0, "clue": "", "choices": []}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Games(Protocol):
    """The games as their master knows them. Asks nobody, so it may be called on the event loop."""

    def current_clue(self) -> Clue | None:
        """The clue that can be bet on now."""
        ...

    def told(self, game: int) -> Mapping[str, Any] | None:
        """What anybody may know of a game, as JSON can hold it; None when it is not known here."""
        ...


def judge_routes(judge: LocalJudge, *, games: Games | None, rate_limit: RateLimit | None = None) -> list[web.RouteDef]:
    """The routes; without games, no clue is ever there. ``rate_limit`` is for questions and answers alone."""
    limit = rate_limit or RateLimit(per_second=QUESTIONS_PER_SECOND, burst=QUESTION_BURST)

    async def request_question(request: web.Request) -> web.StreamResponse:
        body = await _body(request, max_bytes=MAX_QUESTION_BODY_BYTES)
        _spend(limit, request, 1)
        asked = await judge.ask(
            peer_id=body.get("user_id"),
            model_name=body.get("model_name"),
            round=body.get("round_number"),
            address=request[CLIENT],
        )
        return web.json_response(_asked(asked))

    async def request_questions(request: web.Request) -> web.StreamResponse:
        body = await _body(request, max_bytes=MAX_QUESTION_BODY_BYTES)
        count = body.get("count")
        _spend(limit, request, count)
        asked = await judge.ask_many(
            peer_id=body.get("user_id"),
            model_name=body.get("model_name"),
            round=body.get("round_number"),
            count=count,
            address=request[CLIENT],
        )
        return web.json_response({"questions": [_asked(each) for each in asked]})

    async def submit_answer(request: web.Request) -> web.StreamResponse:
        body = await _body(request, max_bytes=MAX_ANSWER_BODY_BYTES)
        _spend(limit, request, 1)
        # Clients send their round along; what counts is the round that the question was asked for.
        score = await judge.submit(
            session_id=body.get("session_id"), answer=body.get("user_answer"), address=request[CLIENT]
        )
        return web.json_response({"session_id": body["session_id"], "score": score})

    async def submit_answers(request: web.Request) -> web.StreamResponse:
        body = await _body(request, max_bytes=MAX_ANSWERS_BODY_BYTES, max_brackets=_MAX_ANSWERS_BRACKETS)
        answers = body.get("answers")
        if not isinstance(answers, list) or not all(isinstance(each, dict) for each in answers):
            raise SessionRefused("malformed", "answers must be a list of objects with session_id and user_answer.")
        _spend(limit, request, len(answers))
        results = await judge.submit_many(
            [(each.get("session_id"), each.get("user_answer")) for each in answers], address=request[CLIENT]
        )
        scores = [_scored(each.get("session_id"), result) for each, result in zip(answers, results, strict=True)]
        return web.json_response({"scores": scores})

    async def current_clue(_: web.Request) -> web.StreamResponse:
        clue = games.current_clue() if games else None
        return web.json_response(dict(_NO_GAME) if clue is None else _told(clue))

    async def game(request: web.Request) -> web.StreamResponse:
        told = games.told(int(request.match_info["game"])) if games else None
        if told is None:
            raise SessionRefused("unknown", "This hub knows no such game, or it is long over.")
        return web.json_response(dict(told))

    return [
        *_both(web.post, "/request-question", request_question),
        *_both(web.post, "/submit-answer", submit_answer),
        *_both(web.post, "/request-questions", request_questions),
        *_both(web.post, "/submit-answers", submit_answers),
        *_both(web.get, "/current_clue", current_clue),
        *_both(web.get, r"/games/{game:\d{1,15}}", game),
    ]


def _both(method: Callable[..., web.RouteDef], path: str, handler: Handler) -> list[web.RouteDef]:
    """The route with and without a slash at its end, refusals turned into answers."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except SessionRefused as refusal:
            headers = {} if refusal.retry_after_seconds is None else {"Retry-After": str(refusal.retry_after_seconds)}
            return web.json_response({"error": str(refusal)}, status=STATUS[refusal.reason], headers=headers)

    return [method(path, answer), method(f"{path}/", answer)]


async def _body(request: web.Request, *, max_bytes: int, max_brackets: int = _MAX_BRACKETS) -> Mapping[str, Any]:
    """The JSON object that was sent. Raises SessionRefused, web.HTTPRequestEntityTooLarge or web.HTTPRequestTimeout."""
    content = bytearray()
    try:
        async with asyncio.timeout(None if request.content.is_eof() else BODY_SECONDS):
            async for chunk in request.content.iter_any():
                content += chunk
                if len(content) > max_bytes:
                    raise web.HTTPRequestEntityTooLarge(max_size=max_bytes, actual_size=len(content))
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error
    try:
        found = _flat_json(bytes(content), max_brackets)
    except ValueError as error:
        raise SessionRefused("malformed", f"The body is no JSON that belongs here: {error}.") from error
    if not isinstance(found, dict):
        raise SessionRefused("malformed", "The body must be a JSON object.")
    return found


def _spend(limit: RateLimit, request: web.Request, count: object) -> None:
    """Take it from the client's allowance. Raises SessionRefused ("too many")."""
    cost = min(max(1, count), MAX_AT_ONCE) if isinstance(count, int) else 1
    if not limit.allow(request[CLIENT], cost):
        raise SessionRefused("too many", "Too many requests from this address; try again soon.", retry_after_seconds=10)


def _flat_json(content: bytes, max_brackets: int) -> Any:
    """The parsed body, if its brackets are few; those within texts don't count, for answers may well be full of them.

    Raises ValueError.
    """
    bare = _TEXTS.sub(b"", content)
    if bare.count(b"[") + bare.count(b"{") > max_brackets:
        raise ValueError("it is nested")
    return shallow_json(content, max_brackets=len(content))


def _asked(asked: Asked) -> dict[str, Any]:
    return {
        "session_id": asked.session_id,
        "question": asked.question,
        "round_number": asked.round,
        "expires_at": asked.expires_at,
    }


def _scored(session_id: object, result: float | SessionRefused) -> dict[str, Any]:
    if isinstance(result, SessionRefused):
        return {"session_id": session_id, "error": str(result), "status": STATUS[result.reason]}
    return {"session_id": session_id, "score": result}


def _told(clue: Clue) -> dict[str, Any]:
    return {
        "game_id": clue.game,
        "clue_id": clue.clue,
        "rounds_remaining": clue.rounds_remaining,
        "clue": clue.text,
        "choices": list(clue.choices),
    }

"""The judge's HTTP routes, as clients of earlier swarms know them: questions, answers, clues; and a game's opening.

    POST /request-question/  {user_id, round_number, model_name} -> {session_id, question, round_number, expires_at}
    POST /submit-answer/     {session_id, user_answer, ...}      -> {session_id, score}
    GET  /current_clue/      {game_id, clue_id, rounds_remaining, clue, choices}; game_id -1 when no game runs
    GET  /games/<id>         what is known of one of the last games: after its end also answer, salt and proofs

Also without the slash at the end. A refusal is ``{"error": "<sentence>"}`` with a status that says whose fault it is.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.hub.rate_limit import RateLimit
from rgym_exp.judge.judge import Clue
from rgym_exp.judge.local_judge import LocalJudge
from rgym_exp.judge.sessions import Reason, SessionRefused

QUESTIONS_PER_SECOND = 40.0
"""Questions and answers per client address, a millisecond of work each. A node has eight or so a round, so that dozens
behind one address still fit."""
QUESTION_BURST = 400.0
"""Some dozens of nodes behind one address may begin a round together."""
MAX_QUESTION_BODY_BYTES = 4 * 1024
MAX_ANSWER_BODY_BYTES = 112 * 1024
"""Of an answer at its largest, with every byte spelt as six characters."""
_MAX_BRACKETS = 8
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
        body = await _body(request, limit, max_bytes=MAX_QUESTION_BODY_BYTES)
        asked = await judge.ask(
            peer_id=body.get("user_id"),
            model_name=body.get("model_name"),
            round=body.get("round_number"),
            address=_client(request),
        )
        return web.json_response(
            {
                "session_id": asked.session_id,
                "question": asked.question,
                "round_number": asked.round,
                "expires_at": asked.expires_at,
            }
        )

    async def submit_answer(request: web.Request) -> web.StreamResponse:
        body = await _body(request, limit, max_bytes=MAX_ANSWER_BODY_BYTES)
        # Clients send their round along; what counts is the round that the question was asked for.
        score = await judge.submit(session_id=body.get("session_id"), answer=body.get("user_answer"))
        return web.json_response({"session_id": body["session_id"], "score": score})

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


async def _body(request: web.Request, limit: RateLimit, *, max_bytes: int) -> Mapping[str, Any]:
    """The JSON object that was sent. Raises SessionRefused, or web.HTTPRequestEntityTooLarge."""
    if not limit.allow(_client(request)):
        raise SessionRefused("too many", "Too many requests from this address; try again soon.", retry_after_seconds=10)
    content = bytearray()
    async for chunk in request.content.iter_any():
        content += chunk
        if len(content) > max_bytes:
            raise web.HTTPRequestEntityTooLarge(max_size=max_bytes, actual_size=len(content))
    try:
        found = _flat_json(bytes(content))
    except ValueError as error:
        raise SessionRefused("malformed", f"The body is no JSON that belongs here: {error}.") from error
    if not isinstance(found, dict):
        raise SessionRefused("malformed", "The body must be a JSON object.")
    return found


def _flat_json(content: bytes) -> Any:
    """The parsed body, if its brackets are few; those within texts don't count, for answers may well be full of them.

    Raises ValueError.
    """
    bare = _TEXTS.sub(b"", content)
    if bare.count(b"[") + bare.count(b"{") > _MAX_BRACKETS:
        raise ValueError("it is nested")
    return shallow_json(content, max_brackets=len(content))


def _told(clue: Clue) -> dict[str, Any]:
    return {
        "game_id": clue.game,
        "clue_id": clue.clue,
        "rounds_remaining": clue.rounds_remaining,
        "clue": clue.text,
        "choices": list(clue.choices),
    }


def _client(request: web.Request) -> str:
    """Whom limits count: the address of the connection (headers can be made up)."""
    return request.remote or ""

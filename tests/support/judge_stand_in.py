"""A judge over real HTTP that can be brought to every way in which a judge can be wrong."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.serving import serving

Behaviour = Callable[["JudgeStandIn", BaseHTTPRequestHandler, Any], None]
"""Answers one request, given what a good judge would say."""

NO_GAME = {"game_id": -1, "clue_id": -1, "rounds_remaining": 0, "clue": "", "choices": []}


class JudgeStandIn:
    """A judge below its own path. ``behaviour`` decides how it answers; any may be set at any time."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or right
        self.question = "What is 1 + 1?"
        self.score: Any = 0.25
        self.clue: Mapping[str, Any] = NO_GAME
        self.asked: list[tuple[str, str, Any]] = []
        """(method, path below the judge's own, body) of every request."""
        self.headers: list[dict[str, str]] = []
        """Of every request, names in small letters."""
        self.is_asked = threading.Event()
        """Set with every request."""
        self.released = threading.Event()
        """Set it to let answers go that are held back."""
        self.url = ""

    @contextmanager
    def served(self) -> Iterator[JudgeStandIn]:
        """Answers for as long as the context lasts; what still hangs then is let go."""
        with serving(_handler(self), released=self.released) as address:
            self.url = f"{address}/swarm"
            yield self

    def good(self, path: str) -> Any:
        """What a good judge says."""
        match path:
            case "request-question/":
                number = sum(asked[1] == path for asked in self.asked)
                return {"session_id": f"session-{number}", "question": self.question, "expires_at": 1e9}
            case "submit-answer/":
                return {"score": self.score}
            case "current_clue/":
                return self.clue
        return None


def right(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """As a judge should."""
    send(request, 404 if good is None else 200, json.dumps(good).encode())


def fails(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """With a failure of its own."""
    send(request, 500, b"<html>Internal Server Error</html>")


def hangs(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """Not before it is released."""
    judge.released.wait(60)
    right(judge, request, good)


def stutters(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """With no JSON."""
    send(request, 200, b'{"session_id": "1", "question"')


def mistypes(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """With a value of another type in every place."""
    send(request, 200, json.dumps({key: [value] for key, value in good.items()}).encode())


def lists(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """With a list where an object should be."""
    send(request, 200, json.dumps([good]).encode())


def drips(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """One byte of the body after the other."""
    request.send_response(200)
    request.send_header("content-length", "100000")
    request.end_headers()
    _drip(judge, request, b" ")


def drips_headers(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """One byte of a header after the other, so that no body ever begins."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nx-long: ")
    _drip(judge, request, b"x")


def redirects(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """By sending the caller elsewhere."""
    send(request, 307, b"", {"location": f"{judge.url}/elsewhere/"})


def floods(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """With a body that never ends."""
    request.send_response(200)
    request.end_headers()
    with contextlib.suppress(OSError):  # The caller has had enough.
        while not judge.released.is_set():
            request.wfile.write(b" " * 65536)


def inflates(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """With little that unpacks to 64 MiB."""
    send(request, 200, gzip.compress(b" " * 2**26), {"content-encoding": "gzip"})


def nests(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """With brackets within brackets."""
    send(request, 200, b"[" * 100_000)


def resets(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """By breaking the connection."""
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()


def has_enough(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """By asking for a pause."""
    send(request, 429, json.dumps({"error": "too many questions"}).encode(), {"retry-after": "120"})


def refuses(judge: JudgeStandIn, request: BaseHTTPRequestHandler, good: Any) -> None:
    """With a refusal."""
    send(request, 410, json.dumps({"error": "the session has expired"}).encode())


def says(content: Any, status: int = 200) -> Behaviour:
    """A behaviour: always this, in JSON (or, as bytes, as it is)."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda judge, request, good: send(request, status, body)


WRONG: tuple[Behaviour, ...] = (
    fails, hangs, stutters, mistypes, lists, drips, drips_headers, redirects, floods, inflates, nests, resets,
    has_enough, refuses,
)  # fmt: skip
"""Every way of being wrong."""


def send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    """One whole answer."""
    with contextlib.suppress(OSError):  # Nobody waits for it any more.
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


def _drip(judge: JudgeStandIn, request: BaseHTTPRequestHandler, byte: bytes) -> None:
    with contextlib.suppress(OSError):
        while not judge.released.wait(0.05):
            request.wfile.write(byte)


def _handler(judge: JudgeStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _answer(self, body: Any) -> None:
            path = self.path.removeprefix("/swarm/")
            judge.asked.append((self.command, path, body))
            judge.headers.append({name.lower(): value for name, value in self.headers.items()})
            judge.is_asked.set()
            self.close_connection = True
            judge.behaviour(judge, self, judge.good(path))

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):  # The connection may be gone by design.
                super().finish()

    return Handler

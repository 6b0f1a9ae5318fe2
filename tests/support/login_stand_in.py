"""What stands in for a login server where a test needs failures that the real one can hardly be brought to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.serving import serving


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request, as it arrived."""

    method: str
    route: str
    headers: dict[str, str]
    """Names in small letters."""
    body: Any
    """Parsed; None without one."""


@dataclass(frozen=True, kw_only=True)
class Says:
    """One answer."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    pieces: int = 1
    """In how many pieces the content goes out; between two of them it waits for ``LoginStandIn.released``."""
    drips_headers: bool = False
    """Its headers go on until ``LoginStandIn.released``, a byte at a time, and no content follows."""


HANGS_UP = None
"""In place of an answer: the connection is closed without one."""

Answer = Says | None


def says(content: Any, status: int = 200) -> Says:
    """An answer in JSON."""
    return Says(status=status, content=json.dumps(content).encode(), headers={"content-type": "application/json"})


class LoginStandIn:
    """An HTTP server below ``/api``; ``answer`` decides what it says."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.released = threading.Event()
        """Set it to let answers out that were held back by ``Says.pieces``."""
        self.url = ""

    def routes(self) -> list[str]:
        """The routes asked for, in order."""
        return [each.route for each in self.asked]

    @contextmanager
    def served(self, port: int = 0) -> Iterator[LoginStandIn]:
        """Answers for as long as the context lasts."""
        with serving(_handler(self), released=self.released, port=port) as address:
            self.url = f"{address}/api/"
            yield self


def _handler(stand_in: LoginStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _answer(self, body: Any) -> None:
            asked = Asked(
                method=self.command,
                route=self.path.removeprefix("/api/"),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=body,
            )
            stand_in.asked.append(asked)
            said = stand_in.answer(asked)
            self.close_connection = True
            if said is None:
                return
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if said.drips_headers:
                self.flush_headers()
                while not stand_in.released.wait(0.1):
                    self.wfile.write(b"x")
                return
            self.send_header("content-length", str(len(said.content)))
            self.end_headers()
            for piece in _in_pieces(said):
                self.wfile.write(piece)
                if said.pieces > 1:
                    self.wfile.flush()
                    stand_in.released.wait(0.2)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler


def _in_pieces(said: Says) -> Iterator[bytes]:
    size = max(1, -(-len(said.content) // said.pieces))
    return (said.content[at : at + size] for at in range(0, len(said.content), size))

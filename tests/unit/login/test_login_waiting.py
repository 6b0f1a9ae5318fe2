"""What a person reads while nobody is logged in yet, with a login server of a test's own making."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rgym_exp.base.ports import free_port
from rgym_exp.chain.login_client import LoginClient
from rgym_exp.chain.login_errors import TokenRefused
from rgym_exp.login.waiting import LoginTimeout, wait_for_login

ADDRESS = "0x" + "ab" * 20
PAGE = "http://localhost:3000/"


class ServedAccount:
    """A login server that knows one account, which the test changes."""

    def __init__(self) -> None:
        self.account: dict[str, Any] | None = None
        self.status = 200
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(served.account if served.status == 200 else {"error": "no"}).encode()
                self.send_response(served.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing to say."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.client = LoginClient(f"http://127.0.0.1:{self._server.server_port}/api", None)

    def becomes(self, activation: str, address: str | None = None) -> None:
        self.account = {
            "orgId": "o",
            "address": address,
            "email": "ada@example.org",
            "activation": activation,
            "expiresAt": None,
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def served() -> Iterator[ServedAccount]:
    server = ServedAccount()
    yield server
    server.close()


class Clock:
    """Time that passes only while somebody waits; at a moment, something happens."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events: dict[int, Any] = {}

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        for moment in [moment for moment in self.events if moment <= self.now]:
            self.events.pop(moment)()


def test_each_state_is_told_once_until_the_key_may_act(served: ServedAccount) -> None:
    clock = Clock()
    told: list[str] = []
    clock.events = {
        3: lambda: served.becomes("pending"),
        6: lambda: served.becomes("expired", ADDRESS),
        9: lambda: served.becomes("activated", ADDRESS),
    }
    account = wait_for_login(served.client.account, told.append, page=PAGE, seconds=900, pause=clock.pause, clock=clock)
    assert (account.address, account.email) == (ADDRESS, "ada@example.org")
    assert clock.now < 11
    assert [sentence.split(".")[0] for sentence in told] == [
        f"Waiting for a login at {PAGE}",
        "ada@example",
        "The login of ada@example",
    ]
    assert "Waiting for this machine's key to be allowed to act" in told[1]
    assert f"has run out. Waiting for a new one at {PAGE}" in told[2]


@pytest.mark.parametrize(
    ("activation", "reason"),
    [
        (None, f"nobody has logged in at {PAGE}"),
        ("pending", "ada@example.org is logged in, but this machine's key was never allowed to act"),
        ("expired", "the login of ada@example.org has run out, and nobody has logged in again"),
    ],
)
def test_a_wait_that_is_over_says_where_it_was_stuck(
    served: ServedAccount, activation: str | None, reason: str
) -> None:
    clock = Clock()
    if activation:
        served.becomes(activation)
    with pytest.raises(LoginTimeout) as timeout:
        wait_for_login(
            served.client.account, lambda sentence: None, page=PAGE, seconds=120, pause=clock.pause, clock=clock
        )
    assert str(timeout.value).startswith(f"Gave up after 2 min: {reason}")
    assert "rl-swarm login --timeout MINUTES" in str(timeout.value)
    assert clock.now == 120


def test_a_server_that_is_away_is_waited_for_and_named_when_it_never_comes() -> None:
    clock = Clock()
    told: list[str] = []
    away = LoginClient(f"http://127.0.0.1:{free_port()}/api", None)
    with pytest.raises(LoginTimeout, match=r"Gave up after 5 s: the login server at .* does not answer.*yarn\.log"):
        wait_for_login(away.account, told.append, page=PAGE, seconds=5, pause=clock.pause, clock=clock)
    assert told == [f"Waiting for the login server to answer at {PAGE}."]


def test_what_no_waiting_mends_is_told_at_once(served: ServedAccount) -> None:
    served.status = 401
    clock = Clock()
    with pytest.raises(TokenRefused):
        wait_for_login(
            served.client.account, lambda sentence: None, page=PAGE, seconds=900, pause=clock.pause, clock=clock
        )
    assert clock.now == 0


def test_a_login_without_an_account_yet_is_not_done(served: ServedAccount, tmp_path: Path) -> None:
    served.becomes("activated", None)
    clock = Clock()
    told: list[str] = []
    clock.events = {2: lambda: served.becomes("activated", ADDRESS)}
    wait_for_login(served.client.account, told.append, page=PAGE, seconds=60, pause=clock.pause, clock=clock)
    assert len(told) == 1 and "keep the page open" in told[0]

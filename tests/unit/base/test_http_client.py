"""The HTTP client: it ends at its deadline, whatever the server does to hold it, and asks this machine directly."""

from __future__ import annotations

import gc
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from rgym_exp.base.http_client import BoundedSession, fetch, is_loopback, read_body, reason_of
from rgym_exp.base.ports import free_port
from tests.support.certificates import self_signed

Talk = Callable[[socket.socket, threading.Event], None]


def drips_headers(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
    while not over.wait(0.05):
        connection.sendall(b"x")


def stalls_in_the_body(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{")
    over.wait(60)


def keeps_saying_go_on(connection: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.05):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def answers(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")


def answers_twice_then_drips(connection: socket.socket, over: threading.Event) -> None:
    for _ in range(2):
        answers(connection, over)
        connection.recv(65536)
    drips_headers(connection, over)


@contextmanager
def serving(talk: Talk, tls: Path | None) -> Iterator[str]:
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listener.accept()
            if tls is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(tls)
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                connection.recv(65536)
                talk(connection, over)
        except OSError:
            over.set()  # The other end has gone, as it should.

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.close()
        thread.join(10)


def get(url: str, tls: Path | None, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    with (
        BoundedSession(url) as session,
        session.until(deadline),
        session.get(url, timeout=10 * seconds, stream=True, verify=str(tls) if tls else True) as answer,
    ):
        return read_body(answer, max_bytes=1000, deadline=deadline)


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return self_signed(tmp_path) if request.param else None


def test_a_whole_answer_in_time_comes_through(tls: Path | None) -> None:
    with serving(answers, tls) as url:
        assert get(url, tls, 10) == b"{}"


def test_an_authority_that_the_environment_names_counts_for_this_machine_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    with serving(answers, certificate) as url, pytest.raises(requests.exceptions.SSLError):
        fetch(url, max_bytes=1000, timeout_seconds=10)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serving(answers, certificate) as url:
        assert fetch(url, max_bytes=1000, timeout_seconds=10).body == b"{}"


@pytest.mark.parametrize("talk", [drips_headers, keeps_saying_go_on, stalls_in_the_body])
def test_a_server_that_always_says_a_little_more_is_cut_off_at_the_deadline(talk: Talk, tls: Path | None) -> None:
    began = time.monotonic()
    with serving(talk, tls) as url:
        with pytest.raises(requests.exceptions.RequestException):
            get(url, tls, 0.5)
        # The read time-out is 5 s, and no answer of these ever ends.
        assert 0.4 < time.monotonic() - began < 3


def test_a_session_that_is_kept_uses_its_connection_again_and_is_still_cut_off_at_the_deadline(
    tls: Path | None,
) -> None:
    verify = str(tls) if tls else True

    def ask(seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        with session.until(deadline), session.get(url, timeout=60, stream=True, verify=verify) as answer:
            return read_body(answer, max_bytes=1000, deadline=deadline)

    # The server takes one connection only.
    with serving(answers_twice_then_drips, tls) as url, BoundedSession(url) as session:
        assert [ask(10), ask(10)] == [b"{}", b"{}"]
        began = time.monotonic()
        with pytest.raises(requests.exceptions.RequestException):
            ask(0.5)
        assert 0.4 < time.monotonic() - began < 3


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_a_session_that_is_dropped_leaves_no_open_connection(tls: Path | None, no_garbage_collector: None) -> None:
    ended = threading.Event()

    def talk(connection: socket.socket, over: threading.Event) -> None:
        answers(connection, over)
        connection.settimeout(20)
        if connection.recv(1) == b"":
            ended.set()

    def ask_and_forget() -> None:
        session = BoundedSession(url)
        with session.until(time.monotonic() + 10):
            assert session.get(url, timeout=10, verify=str(tls) if tls else True).content == b"{}"

    with serving(talk, tls) as url:
        ask_and_forget()
        assert ended.wait(10), "the connection is still open"


def test_no_timer_outlives_its_session() -> None:
    with serving(answers, None) as url:
        get(url, None, 3600)
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    for timer in timers:
        timer.join(10)
    assert not any(timer.is_alive() for timer in timers)


def answers_at_length(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 404 Not Found\r\nx-word: hello\r\ncontent-length: 100\r\n\r\n" + bytes(100))


def test_an_answer_is_told_whatever_its_status() -> None:
    with serving(answers_at_length, None) as url:
        answer = fetch(url, max_bytes=100, timeout_seconds=10)
    assert (answer.status, answer.headers["X-Word"], answer.body) == (404, "hello", bytes(100))


def test_an_answer_of_one_byte_too_many_is_refused() -> None:
    with serving(answers_at_length, None) as url, pytest.raises(ValueError, match="over 99 bytes"):
        fetch(url, max_bytes=99, timeout_seconds=10)


def test_no_answer_in_time_is_a_time_out_and_a_refused_connection_says_so() -> None:
    with serving(stalls_in_the_body, None) as url, pytest.raises(requests.exceptions.ReadTimeout) as slow:
        fetch(url, max_bytes=100, timeout_seconds=0.3)
    with pytest.raises(requests.exceptions.ConnectionError) as refused:
        fetch(f"http://127.0.0.1:{free_port()}", max_bytes=100, timeout_seconds=10)
    assert (reason_of(slow.value), reason_of(refused.value)) == ("no whole answer in time", "Connection refused")


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        ("http://127.0.0.1:8600/status", True),
        ("http://localhost", True),
        ("http://[::1]:1/", True),
        ("http://127.9.9.9", True),
        ("http://192.0.2.7", False),
        ("http://localhost.example.org", False),
        ("http://[", False),
        ("nonsense", False),
    ],
)
def test_this_machine_is_known_by_its_names(url: str, is_here: bool) -> None:
    assert is_loopback(url) == is_here


PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.fixture(params=["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def proxy_variable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one variable that names a proxy; nothing names what is to be asked without it."""
    for name in (*PROXY_VARIABLES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return str(request.param)


def test_this_machine_is_asked_directly_though_a_proxy_is_set(
    proxy_variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(proxy_variable, f"http://127.0.0.1:{free_port()}")
    with serving(answers, None) as url:
        assert fetch(url, max_bytes=100, timeout_seconds=10).body == b"{}"


def test_other_machines_are_asked_through_the_proxy(proxy_variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answers, None) as proxy:
        monkeypatch.setenv(proxy_variable, proxy)
        assert fetch("http://swarm.invalid/status", max_bytes=100, timeout_seconds=10).body == b"{}"


def test_a_socks_proxy_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("ALL_PROXY", raising=False)
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1080")
    with pytest.raises(requests.exceptions.RequestException) as refused:
        fetch("http://swarm.example.org/", max_bytes=10, timeout_seconds=5)
    assert reason_of(refused.value) == "all_proxy names a SOCKS proxy, and only HTTP proxies are spoken to"

"""Asking an HTTP server that may be a stranger's: bounded in size and in time, and past no proxy that can't reach it.

One rule for proxies: what listens on this machine is asked directly, whatever HTTP_PROXY and ALL_PROXY say, since no
proxy reaches it; for all else the environment decides (NO_PROXY included).
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    """By name, in any case."""
    body: bytes


def is_loopback(url: str) -> bool:
    """Whether ``url`` names this machine: localhost, 127.0.0.0/8 or ::1."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def socks_proxy_variable(environ: Mapping[str, str]) -> str | None:
    """The variable that names a SOCKS proxy, if one does: what asks the web here speaks to HTTP proxies only."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY"):
        if environ.get(name, "").lower().startswith("socks"):
            return name
    return None


def proxy_variables_past_loopback(environ: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY for programs that have no such rule of their own; nothing where no proxy is set."""
    named = ("http_proxy", "https_proxy", "all_proxy")
    if not any(environ.get(name) or environ.get(name.upper()) for name in named):
        return {}
    given = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    past = ",".join([*filter(None, [given]), "localhost", "127.0.0.1", "::1"])
    return {"NO_PROXY": past, "no_proxy": past}


def fetch(
    url: str,
    *,
    max_bytes: int,
    timeout_seconds: float,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    connect_seconds: float | None = None,
    redirects: bool = False,
    trust_env: bool = True,
    session: BoundedSession | None = None,
) -> Answer:
    """GET, or POST where there is ``data``; an answer of any status.

    Args:
        timeout_seconds: for the whole exchange, from the connection to the answer's last byte.
        connect_seconds: for the connection alone; None for the same as the whole.
        trust_env: whether proxies and a .netrc of the environment count, for a server on another machine.
        session: keeps its connection for the next time; None for one of its own.

    Raises:
        requests.exceptions.ReadTimeout: no whole answer in time.
        requests.exceptions.RequestException: no answer for another reason (``reason_of`` says it in words).
        ValueError: it has more than ``max_bytes``, or the address is none.
    """
    deadline = time.monotonic() + timeout_seconds
    try:
        with (
            contextlib.nullcontext(session) if session is not None else BoundedSession(url) as asking,
            asking.until(deadline),
        ):
            asking.trust_env &= trust_env
            with asking.request(
                *("GET" if data is None else "POST", url),
                data=data,
                headers={"User-Agent": "rl-swarm", **(headers or {})},
                timeout=(connect_seconds or timeout_seconds, timeout_seconds),
                allow_redirects=redirects,
                stream=True,
            ) as answer:
                body = read_body(answer, max_bytes=max_bytes, deadline=deadline)
                return Answer(status=answer.status_code, headers=answer.headers, body=body)
    except requests.exceptions.ConnectTimeout:
        raise
    # urllib3's own errors and OSError are what requests lets through here and there.
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        if time.monotonic() >= deadline:
            raise requests.exceptions.ReadTimeout("no whole answer in time") from error
        if isinstance(error, requests.exceptions.RequestException):
            raise
        raise requests.exceptions.ConnectionError(str(error)) from error


def reason_of(error: BaseException) -> str:
    """Why there is no answer, in the system's words where it has some ("Connection refused")."""
    if isinstance(error, requests.exceptions.Timeout):
        return "no whole answer in time"
    if isinstance(error, requests.exceptions.InvalidSchema) and (variable := socks_proxy_variable(os.environ)):
        return f"{variable} names a SOCKS proxy, and only HTTP proxies are spoken to"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error)


def read_body(answer: requests.Response, *, max_bytes: int, deadline: float) -> bytes:
    """The body of an answer that was asked for with ``stream=True``. ``deadline`` is one of ``time.monotonic``.

    requests' own way has no bound on the size, and its time-out starts anew with every byte.

    Raises:
        requests.exceptions.RequestException: it broke off, or isn't whole at the deadline.
        ValueError: it has more than ``max_bytes``.
    """
    body = bytearray()
    try:
        # read1 returns with what there is, where read waits for more: a server that drips must not hold us.
        while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > max_bytes:
                raise ValueError(f"its answer has over {max_bytes} bytes")
            if time.monotonic() > deadline:
                break
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ConnectionError(f"the answer broke off: {error}") from error
    # Also after a last byte: the end may be where ``until`` cut it off.
    if time.monotonic() >= deadline:
        raise requests.exceptions.ReadTimeout("no whole answer in time")
    return bytes(body)


class BoundedSession(requests.Session):
    """A session whose connections can be cut off at a deadline, whatever they are at.

    A time-out of requests starts anew with every byte, in the headers too: a server that drips those would hold the
    caller for days. Looking up the server's name is not bounded here; the system's resolver has its own time-outs.
    For one thread at a time, as requests' own.
    """

    def __init__(self, url: str) -> None:
        """``url``: what is going to be asked; with the path or without."""
        super().__init__()
        self.trust_env = not is_loopback(url)
        # requests asks the environment for both at once: whom to trust counts for this machine's servers as well.
        self.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._carrier = _Carrier()
        self.mount("http://", self._carrier)
        self.mount("https://", self._carrier)

    @contextlib.contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """What is asked in here is cut off at the deadline (of ``time.monotonic``), its body's reading included.

        Whoever asks then meets a requests.exceptions.RequestException, of no certain kind.
        """
        self._carrier.deadline = deadline
        timer = threading.Timer(deadline - time.monotonic(), self._carrier.cut_off)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._carrier.deadline = math.inf


class _Carrier(HTTPAdapter):
    """Keeps hold of the sockets that its requests go over."""

    def __init__(self) -> None:
        super().__init__()
        self.deadline = math.inf
        self._sockets: list[socket.socket] = []

    def hold(self, opened: socket.socket) -> None:
        """Take note of a new connection."""
        self._sockets = [each for each in self._sockets if each.fileno() >= 0] + [opened]
        if time.monotonic() > self.deadline:  # The cut has been, and missed this one.
            raise TimeoutError("no connection in time")

    def cut_off(self) -> None:
        """Whoever reads from the sockets is at the end of them now."""
        for opened in list(self._sockets):
            with contextlib.suppress(OSError):  # It is closed already.
                # Not SSLSocket.shutdown, which takes TLS apart under the thread that reads.
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """requests' own, with connections that say when they are there."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        made = pool.ConnectionCls
        if getattr(made, "is_held", False):  # The pool is one of before.
            return pool

        # A class lives until the garbage collector comes: it must not keep us, and so our open sockets, until then.
        carrier = weakref.ref(self)

        def connect(connection: Any) -> None:
            made.connect(connection)
            if (held := carrier()) is not None:
                held.hold(connection.sock)

        pool.ConnectionCls = type(made.__name__, (made,), {"connect": connect, "is_held": True})
        return pool

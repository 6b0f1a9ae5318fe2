"""Asking an HTTP server that may be a stranger's: bounded in size and in time."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

_CHUNK_BYTES = 64 * 1024


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
    # Also after a last byte: the end may be where ``session_until`` cut it off.
    if time.monotonic() >= deadline:
        raise requests.exceptions.ReadTimeout("no whole answer in time")
    return bytes(body)


class BoundedSession(requests.Session):
    """A session whose connections can be cut off at a deadline, whatever they are at.

    A time-out of requests starts anew with every byte, in the headers too: a server that drips those would hold the
    caller for days. Looking up the server's name is not bounded here; the system's resolver has its own time-outs.
    For one thread at a time, as requests' own.
    """

    def __init__(self) -> None:
        super().__init__()
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


@contextlib.contextmanager
def session_until(deadline: float) -> Iterator[requests.Session]:
    """A session for one exchange, cut off at the deadline (of ``time.monotonic``)."""
    with BoundedSession() as session, session.until(deadline):
        yield session


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

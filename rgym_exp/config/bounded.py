"""Asking an HTTP server that may be a stranger's: bounded in size and in time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
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


@contextlib.contextmanager
def session_until(deadline: float) -> Iterator[requests.Session]:
    """A session whose connections are cut off at the deadline (of ``time.monotonic``), whatever they are at.

    A time-out of requests starts anew with every byte, in the headers too: a server that drips those would hold the
    caller for days. Looking up the server's name is not bounded here; the system's resolver has its own time-outs.
    """
    carrier = _Carrier(deadline)
    timer = threading.Timer(deadline - time.monotonic(), carrier.cut_off)
    timer.daemon = True
    timer.start()
    try:
        with requests.Session() as session:
            session.mount("http://", carrier)
            session.mount("https://", carrier)
            yield session
    finally:
        timer.cancel()


class _Carrier(HTTPAdapter):
    """Keeps hold of the sockets that its requests go over."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._deadline = deadline
        self._sockets: list[socket.socket] = []

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

        def connect(connection: Any) -> None:
            made.connect(connection)
            self._sockets.append(connection.sock)
            if time.monotonic() > self._deadline:  # The cut has been, and missed this one.
                raise TimeoutError("no connection in time")

        pool.ConnectionCls = type(made.__name__, (made,), {"connect": connect})
        return pool

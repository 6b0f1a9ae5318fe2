"""Hearing of a signal at once, also while the main thread is inside a library's long computation."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from types import TracebackType


class SignalWatch:
    """Calls ``on_stop`` from a thread of its own as soon as SIGINT, SIGTERM or SIGHUP arrives.

    Python's handlers run in the main thread, and only between two of its instructions: one that computes in C for
    seconds hears nothing. The interpreter writes the number of each signal that has such a handler to a socket at once,
    though, and this reads it. Use as a context manager in the main thread; the handlers stay whose they are.
    """

    _STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, on_stop: Callable[[], None]) -> None:
        """``on_stop``: called once, at the first of them."""
        self._on_stop = on_stop
        self._told = False
        self._inner, self._outer = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name="rl-swarm-signals", daemon=True)
        self._before = -1

    def __enter__(self) -> SignalWatch:
        self._inner.setblocking(False)
        self._before = signal.set_wakeup_fd(self._inner.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._before)
        self._inner.close()  # Ends the thread's reading.
        self._thread.join()
        self._outer.close()

    def _listen(self) -> None:
        while numbers := self._outer.recv(64):
            if not self._told and any(number in self._STOPS for number in numbers):
                self._told = True
                self._on_stop()

"""One background thread that works off calls in their order, so that whoever hands them in never waits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


class Background:
    """A thread of its own that never keeps the process alive: what hangs in it at the end is left behind."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Calls that it has not begun."""
        return self._calls.qsize()

    def submit(self, call: Callable[[], _T]) -> Future[_T]:
        """Have ``call`` made in the thread, after those handed in before it."""
        future: Future[_T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call())
            except BaseException as error:  # As concurrent.futures does: it is whoever asks for the result who is told.
                future.set_exception(error)

        self._calls.put(work)
        return future

    def close(self, *, timeout_seconds: float = 0.0) -> bool:
        """Let it end after the calls handed in so far; whether it has within the time."""
        self._calls.put(None)
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

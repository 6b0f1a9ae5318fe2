"""Ctrl-C and `docker stop`: once to finish cleanly, twice to end at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class StopRequested(BaseException):
    """Raised in the main thread when the node was asked to stop.

    No ``Exception``, for the reason that KeyboardInterrupt is none: it may rise in the midst of any library, and an
    ``except Exception`` there would swallow it.
    """


class Interrupts:
    """Turns SIGINT and SIGTERM into ``StopRequested``, but never inside a section that must not be cut in two.

    Use as a context manager around the node's life. A second signal calls ``end_at_once`` and leaves.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, on_first: Callable[[], None], end_at_once: Callable[[], None]) -> None:
        self._on_first = on_first
        self._end_at_once = end_at_once
        self._requested = False
        self._shields = 0
        self._before: dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Interrupts:
        for number in self._SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._requested:
            self._end_at_once()
            # Threads of libraries may hold locks that an orderly exit would wait for.
            os._exit(128 + number)
        self._requested = True
        self._on_first()
        if self._shields == 0:
            raise StopRequested

    def raise_shield(self) -> None:
        """From here on a stop waits: what follows must not be cut in two."""
        self._shields += 1

    def lower_shield(self) -> None:
        """Until here. Raises StopRequested when one came meanwhile."""
        self._shields = max(0, self._shields - 1)
        self.check()

    def check(self) -> None:
        """Raise StopRequested if a stop was asked for and nothing shields from it."""
        if self._requested and self._shields == 0:
            raise StopRequested

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """A section that must not be cut in two. At its end raises StopRequested when a stop came meanwhile."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        self.check()

    @contextmanager
    def closing(self) -> Iterator[None]:
        """The end of a life: the first signal has had its effect, and only a second one cuts this short."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1

    def sleep(self, seconds: float) -> None:
        """Wait; a signal ends it at once."""
        threading.Event().wait(seconds)
        self.check()

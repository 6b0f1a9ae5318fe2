"""Ctrl-C, `docker stop`, a terminal that is closed: once to finish cleanly; the first two end it at once the second
time."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from rgym_exp.base.stop_signals import let_go_of_the_terminal, stop_signals


class StopRequested(BaseException):
    """Raised in the main thread when the node was asked to stop.

    No ``Exception``, for the reason that KeyboardInterrupt is none: it may rise in the midst of any library, and an
    ``except Exception`` there would swallow it.
    """


class Interrupts:
    """Turns SIGINT, SIGTERM and SIGHUP into ``StopRequested``, but never inside a section that must not be cut in two.

    Use as a context manager around the node's life. A second SIGINT or SIGTERM calls ``end_at_once`` and leaves. A
    second SIGHUP does nothing: the kernel and the shell both send one when a terminal is closed, and nobody asked for
    what was trained to be lost.

    Args:
        on_first: called at the first signal.
        end_at_once: called before the process ends at once, with a sentence about what is lost by it.
    """

    def __init__(self, on_first: Callable[[], None], end_at_once: Callable[[str], None]) -> None:
        self._on_first = on_first
        self._end_at_once = end_at_once
        self._requested = False
        self._asked = 0
        """SIGINT and SIGTERM so far."""
        self.what_is_lost: Callable[[], str] = lambda: "Ended at once, before the first round."
        """Says what an end at this moment costs; whoever trains puts its own here."""
        self._shields = 0
        self._before: dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Interrupts:
        for number in stop_signals():
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            let_go_of_the_terminal()
        else:
            self._asked += 1
        if self._asked > 1:
            self._end_at_once(self.what_is_lost())
            # Threads of libraries may hold locks that an orderly exit would wait for.
            os._exit(128 + number)
        if self._requested:
            return
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

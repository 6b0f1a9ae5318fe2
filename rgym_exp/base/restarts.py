"""How long to wait before a process that ended by itself is started again."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 30.0


class RestartPauses:
    """Pauses that double while it dies soon after its start, and begin anew once it has lived for a while."""

    def __init__(
        self,
        *,
        first_seconds: float = FIRST_PAUSE_SECONDS,
        longest_seconds: float = LONGEST_PAUSE_SECONDS,
        steady_seconds: float = STEADY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``steady_seconds``: one that lived for so long didn't die of its start."""
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._steady_seconds = steady_seconds
        self._clock = clock
        self._deaths = 0
        self._began = clock()

    def began(self) -> None:
        """It is started, or an attempt is made."""
        self._began = self._clock()

    def ended(self) -> float:
        """It ended by itself, or could not be started; returns the seconds to wait before it is started again."""
        if self._clock() - self._began >= self._steady_seconds:
            self._deaths = 0
        # No more doublings than the longest pause needs: a power of two overflows after some weeks.
        pause = min(self._first_seconds * 2 ** min(self._deaths, 30), self._longest_seconds)
        self._deaths += 1
        return pause

"""How often somebody who failed is asked again."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable

from rgym_exp.base.outage import Outage

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0


class BackOff:
    """With one that may fail and that training goes on without: pauses that double, and an ``Outage``'s two lines.

    Args:
        works: said when it works again.
        failing: what fails, before the reason; empty where the reason says it.
        first_seconds: the pause after a failure; it doubles with every further one.
        jitter: a number in [0, 1), so that the nodes of a swarm don't all come back at once.
    """

    def __init__(
        self,
        log: logging.Logger,
        *,
        works: str,
        failing: str = "",
        first_seconds: float = FIRST_PAUSE_SECONDS,
        longest_seconds: float = LONGEST_PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outage = Outage(log, failing=f"{failing}: %s" if failing else "%s", works=works)
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._until = -math.inf

    @property
    def may_ask(self) -> bool:
        """Whether it may be asked (again)."""
        return self._clock() >= self._until

    def failed(self, error: BaseException | str, *, wished_seconds: float | None = None) -> None:
        """It failed (once more). ``wished_seconds``: the pause that it asked for, which is kept at the least."""
        # No more doublings than the longest pause needs: a power of two overflows after some weeks of absence.
        pause = min(self._first_seconds * 2 ** min(self._failures, 30), self._longest_seconds)
        pause = max(pause * (0.75 + 0.5 * self._jitter()), wished_seconds or 0.0)
        self._failures += 1
        self._until = self._clock() + pause
        reason = (str(error) or type(error).__name__).rstrip(".")
        # One that says when to come back isn't worth a warning.
        level = logging.WARNING if wished_seconds is None else logging.INFO
        self._outage.fails(f"{reason}. Training goes on without it; asked again in {pause:.0f} s.", level=level)

    def worked(self) -> None:
        """It did what it should."""
        self._outage.works()
        self._failures, self._until = 0, -math.inf

"""How often somebody who failed is asked again, and how little is said about it."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable

from rgym_exp.judge.judge import JudgeAway

logger = logging.getLogger("rl_swarm.judge")

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0


class BackOff:
    """With one that may fail: pauses that double, one line when it begins to fail and one when it is well again.

    Args:
        well: said when it works again.
        failing: what fails, before the reason; empty where the reason says it.
        first_seconds: the pause after a failure; it doubles with every further one.
        jitter: a number in [0, 1), so that the nodes of a swarm don't all come back at once.
    """

    def __init__(
        self,
        *,
        well: str,
        failing: str = "",
        first_seconds: float = FIRST_PAUSE_SECONDS,
        longest_seconds: float = LONGEST_PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._well = well
        self._failing = f"{failing}: " if failing else ""
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._until = -math.inf
        self._told = logging.NOTSET
        """The level of what was said about these failures."""

    @property
    def may_ask(self) -> bool:
        """Whether it may be asked (again)."""
        return self._clock() >= self._until

    def failed(self, error: BaseException | str) -> None:
        """It failed (once more)."""
        # No more doublings than the longest pause needs: a power of two overflows after some weeks of absence.
        pause = min(self._first_seconds * 2 ** min(self._failures, 30), self._longest_seconds)
        # What a judge asks for is the least; only its own word is bounded, by who read it.
        wished = error.retry_after_seconds if isinstance(error, JudgeAway) else None
        pause = max(pause * (0.75 + 0.5 * self._jitter()), wished or 0.0)
        self._failures += 1
        self._until = self._clock() + pause
        # One that says when to come back isn't worth a warning.
        level = logging.WARNING if wished is None else logging.INFO
        if level > self._told:
            self._told = level
            reason = (str(error) or type(error).__name__).rstrip(".")
            logger.log(level, "%s%s. Training goes on without it; asked again in %.0f s.", self._failing, reason, pause)

    def worked(self) -> None:
        """It did what it should."""
        if self._failures:
            logger.info("%s", self._well)
        self._failures, self._until, self._told = 0, -math.inf, logging.NOTSET

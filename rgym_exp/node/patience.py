"""How often somebody who failed is asked again, and how little is said about it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from rgym_exp.judge.judge import JudgeAway

logger = logging.getLogger("rl_swarm.node")

_SHORTEST_SECONDS = 5.0
_LONGEST_SECONDS = 300.0


class Patience:
    """With one that may fail: pauses that double, one line when it begins to fail and one when it is well again.

    Args:
        failing: the warning, to which the reason is added; e.g. "The judge gives no clues".
        well: said when that is over.
    """

    def __init__(self, *, failing: str, well: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._failing = failing
        self._well = well
        self._clock = clock
        self._pause = 0.0
        self._next = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it is not to be asked now."""
        return self._pause > 0 and self._clock() < self._next

    def failed(self, error: BaseException) -> None:
        """It failed (again)."""
        if not self._pause:
            logger.warning("%s: %s", self._failing, str(error) or type(error).__name__)
        self._pause = min(_LONGEST_SECONDS, max(_SHORTEST_SECONDS, 2 * self._pause))
        # Many nodes lose the same judge at the same moment; they need not all come back in the same one.
        pause = self._pause * random.uniform(0.8, 1.2)
        asked_for = error.retry_after_seconds if isinstance(error, JudgeAway) else None
        self._next = self._clock() + max(pause, asked_for or 0.0)

    def worked(self) -> None:
        """It did what it should."""
        if self._pause:
            logger.info("%s", self._well)
        self._pause = 0.0

"""How long each phase of a round takes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Phases:
    """Times the phases of one round; a phase entered twice adds up."""

    def __init__(self, announce: Callable[[str, str, int | None], None]) -> None:
        self._announce = announce
        self.round: int | None = None
        """The round's number among peers, once it is known."""
        self.seconds: dict[str, float] = defaultdict(float)
        """Seconds by phase."""

    @contextmanager
    def __call__(self, name: str, detail: str = "") -> Iterator[None]:
        """Announce the phase and time what happens inside."""
        self._announce(name, detail, self.round)
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started

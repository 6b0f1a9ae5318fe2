"""Trackers: where round reports go to be kept. A line of JSON always; services when somebody asks for them."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rgym_exp.errors import SwarmUserError
from rgym_exp.observe.metrics import to_json
from rgym_exp.types import RoundReport

logger = logging.getLogger("rl_swarm.observe")


class TrackerError(SwarmUserError):
    """A tracker that was asked for can't be started."""


class Tracker(Protocol):
    """Keeps what rounds were like."""

    def log_round(self, report: RoundReport) -> None:
        """Called once after every finished round. May raise; the run goes on (see ``Trackers``)."""

    def close(self) -> None:
        """Called once at the end; writes out what is still held back."""


class JsonLinesTracker:
    """Appends a line a round to ``logs/metrics.jsonl``; a resumed run continues the file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = _ends_torn(path)
        self._file = path.open("a", encoding="utf-8")
        if torn:  # A crash cut the last line; ours must not be glued to it.
            self._file.write("\n")

    def log_round(self, report: RoundReport) -> None:
        self._file.write(to_json(report) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _ends_torn(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


class MemoryTracker:
    """Keeps the reports in a list."""

    def __init__(self) -> None:
        self.reports: list[RoundReport] = []
        self.closed = False

    def log_round(self, report: RoundReport) -> None:
        self.reports.append(report)

    def close(self) -> None:
        self.closed = True


class Trackers:
    """Hands each report to several trackers. One that fails is named once in the log; training never stops for it."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)
        self._failed: set[int] = set()

    def log_round(self, report: RoundReport) -> None:
        for number, tracker in enumerate(self._trackers):
            try:
                tracker.log_round(report)
            except Exception as error:  # Services, plug-ins and full disks fail in any way they like.
                self._say_once(number, tracker, error)
            else:
                self._failed.discard(number)

    def close(self) -> None:
        for number, tracker in enumerate(self._trackers):
            try:
                tracker.close()
            except Exception as error:  # As above.
                self._say_once(number, tracker, error)

    def _say_once(self, number: int, tracker: Tracker, error: Exception) -> None:
        if number in self._failed:
            return
        self._failed.add(number)
        logger.warning(
            "%s failed: %s. The run goes on; it is tried again after each round.", type(tracker).__name__, error
        )

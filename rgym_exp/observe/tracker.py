"""Trackers: where round reports go to be kept. A line of JSON always; services when somebody asks for them."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rgym_exp.errors import SwarmUserError
from rgym_exp.observe.metrics import to_json
from rgym_exp.types import RoundReport

logger = logging.getLogger("rl_swarm.observe")

_ROUNDS_KEPT = 1000
_CLOSE_SECONDS = 15.0


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


class BehindTheRounds:
    """Has a service log from a thread of its own, so that one that is slow or hangs costs no round its time.

    Rounds wait for it in a queue; beyond 1000 they are left out. They are in ``metrics.jsonl`` in any case.
    """

    def __init__(self, service: Tracker, *, close_seconds: float = _CLOSE_SECONDS) -> None:
        self._name = type(service).__name__
        self._service = Trackers([service])
        self._close_seconds = close_seconds
        self._rounds: queue.Queue[RoundReport | None] = queue.Queue()
        self._left_out = 0
        # A daemon: what hangs in it at the end is left behind.
        self._thread = threading.Thread(target=self._run, name=f"tracker-{self._name}", daemon=True)
        self._thread.start()

    def log_round(self, report: RoundReport) -> None:
        if self._rounds.qsize() < _ROUNDS_KEPT:
            self._rounds.put(report)
            return
        self._left_out += 1
        if self._left_out == 1:
            logger.warning("%s is %d rounds behind; it gets no more until it has moved on.", self._name, _ROUNDS_KEPT)

    def close(self) -> None:
        self._rounds.put(None)
        self._thread.join(self._close_seconds)
        if self._thread.is_alive():
            logger.warning("%s is not done after %g s and is left behind.", self._name, self._close_seconds)
        if self._left_out:
            logger.warning("%s was not given %d rounds, since it was too slow.", self._name, self._left_out)

    def _run(self) -> None:
        while (report := self._rounds.get()) is not None:
            self._service.log_round(report)
        self._service.close()

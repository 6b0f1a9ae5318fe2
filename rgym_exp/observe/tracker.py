"""Trackers: where round reports go to be kept. A line of JSON always; services when somebody asks for them."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rgym_exp.base.background import Background
from rgym_exp.base.outage import Outage
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
        """Called once after every finished round, and before the first one of a new model with its held-out accuracy
        alone (``report.is_before_training``). May raise; the run goes on (see ``Trackers``)."""

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


class Trackers:
    """Hands each report to several trackers. One that fails is named once in the log; training never stops for it."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        failing = "{} failed: %s. The run goes on; it is tried again after each round."
        self._trackers = [
            (tracker, Outage(logger, failing=failing.format(type(tracker).__name__))) for tracker in trackers
        ]

    def log_round(self, report: RoundReport) -> None:
        for tracker, outage in self._trackers:
            try:
                tracker.log_round(report)
            except Exception as error:  # Services, plug-ins and full disks fail in any way they like.
                outage.fails(_reason(error))
            else:
                outage.works()

    def close(self) -> None:
        for tracker, outage in self._trackers:
            try:
                tracker.close()
            except Exception as error:  # As above.
                outage.fails(_reason(error))


def _reason(error: Exception) -> str:
    """With its kind: a KeyError alone is but a word in quotes."""
    return str(error) if isinstance(error, SwarmUserError) else f"{type(error).__name__}: {error}"


class BehindTheRounds:
    """Has a service log from a thread of its own, so that one that is slow or hangs costs no round its time.

    Rounds wait for it in a queue; beyond 1000 they are left out. They are in ``metrics.jsonl`` in any case.
    """

    def __init__(self, service: Tracker, *, close_seconds: float = _CLOSE_SECONDS) -> None:
        self._name = type(service).__name__
        self._service = Trackers([service])
        self._close_seconds = close_seconds
        self._left_out = 0
        self._background = Background(f"tracker-{self._name}")

    def log_round(self, report: RoundReport) -> None:
        if self._background.waiting < _ROUNDS_KEPT:
            self._background.submit(lambda: self._service.log_round(report))
            return
        self._left_out += 1
        if self._left_out == 1:
            logger.warning("%s is %d rounds behind; it gets no more until it has moved on.", self._name, _ROUNDS_KEPT)

    def close(self) -> None:
        self._background.submit(self._service.close)
        if not self._background.close(timeout_seconds=self._close_seconds):
            logger.warning("%s is not done after %g s and is left behind.", self._name, self._close_seconds)
        if self._left_out:
            logger.warning("%s was not given %d rounds, since it was too slow.", self._name, self._left_out)

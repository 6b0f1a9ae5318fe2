"""A tracker and a progress view that remember what they were told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rgym_exp.observe.progress import LiveSources, RunInfo, TransactionRow
from rgym_exp.types import RoundReport


class MemoryTracker:
    """Keeps the reports in a list."""

    def __init__(self) -> None:
        self.reports: list[RoundReport] = []
        self.closed = False

    def log_round(self, report: RoundReport) -> None:
        self.reports.append(report)

    def close(self) -> None:
        self.closed = True


@dataclass
class MemoryProgress:
    """Remembers all it was told, for tests."""

    run: RunInfo | None = None
    phases: list[tuple[str, str, int | None]] = field(default_factory=list)
    reports: list[RoundReport] = field(default_factory=list)
    rows: list[TransactionRow] = field(default_factory=list)
    held_out_values: list[float] = field(default_factory=list)
    sources: LiveSources | None = None
    closed: bool = False

    def started(self, run: RunInfo) -> None:
        self.run = run

    def watch(self, sources: LiveSources) -> None:
        self.sources = sources

    def phase(self, name: str, detail: str = "", *, round: int | None = None) -> None:
        self.phases.append((name, detail, round))

    def round_done(self, report: RoundReport) -> None:
        self.reports.append(report)

    def transactions(self, rows: Sequence[TransactionRow]) -> None:
        self.rows = list(rows)

    def held_out(self, value: float) -> None:
        self.held_out_values.append(value)

    def close(self) -> None:
        self.closed = True

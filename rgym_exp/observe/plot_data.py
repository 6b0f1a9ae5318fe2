"""From the lines of ``metrics.jsonl`` to what a plot shows: one model's rounds, smoothed curves, and gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rgym_exp.observe.chart import smoothed
from rgym_exp.types import RoundReport

PHASES = ("generate", "train", "score", "wait", "gather", "publish", "record")
"""In the order in which they are stacked: the largest, which change least, at the bottom."""
_MOST = 1e9
"""Nothing that is drawn can be larger; a damaged file may hold anything, and axes can't."""
_GAP = 10
"""A pause so many times as long as usual is shown as one, not bridged by a line."""
_BARS, _POINTS = 200, 2000
"""More than these can't be told apart in a picture."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run as it is plotted. Its numbers are ``[rounds]`` each, None or NaN where unknown."""

    label: str
    reports: tuple[RoundReport, ...]
    """At least one, oldest first, their steps increasing (``rounds_that_count``)."""
    held_out_before: float | None = None
    """Held-out accuracy before the first round, where it is known."""

    @property
    def steps(self) -> list[float]:
        return [float(report.step) for report in self.reports]

    @property
    def rewards(self) -> list[float | None]:
        return [report.local_reward for report in self.reports]

    def evaluations(self, x: Sequence[float]) -> list[tuple[float, float]]:
        """(place, held-out accuracy), for rounds that lie at ``x``; the one before the first is a step left of it."""
        known = known_points(x, [report.held_out for report in self.reports])
        return known if self.held_out_before is None else [(x[0] - 1, self.held_out_before), *known]

    @property
    def scores(self) -> list[float | None]:
        """The judge's."""
        return [report.judge_score for report in self.reports]

    @property
    def seconds(self) -> list[float | None]:
        return [round_seconds(report) for report in self.reports]

    def places(self) -> tuple[list[float], str]:
        """Where the rounds lie on an axis of this run's own, and what is counted there.

        That is the swarm's number of each round, unless the model has moved on to a swarm with lower ones, or trained
        on under one number while the hub was away.
        """
        rounds = [float(report.round) for report in self.reports]
        if all(later > earlier for earlier, later in zip(rounds, rounds[1:], strict=False)):
            return rounds, "round"
        return self.steps, "round taken part in"


def run_of(label: str, history: Sequence[RoundReport]) -> Run | None:
    """The newest model's run; None when it has played no round yet."""
    kept = rounds_that_count(history)
    before = kept[0].held_out if kept and kept[0].is_before_training else None
    rounds = tuple(report for report in kept if not report.is_before_training)
    return Run(label=label, reports=rounds, held_out_before=before) if rounds else None


def rounds_that_count(reports: Sequence[RoundReport]) -> tuple[RoundReport, ...]:
    """The rounds that made the newest model what it is, after its step 0 where there is one.

    A node that was killed resumes from its last checkpoint and makes some steps again, and one that starts afresh in
    the same home begins at step 1: what was recorded of those steps before belongs to weights that are gone.
    """
    kept: list[RoundReport] = []
    for report in reports:
        while kept and kept[-1].step >= report.step:
            kept.pop()
        kept.append(report)
    return tuple(kept)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points and a smooth line through them, ``[points]`` each; NaN in both where the line is interrupted."""

    x: list[float]
    raw: list[float]
    smooth: list[float]
    rounds: int
    """How many rounds a point is the mean of: more than one only in very long runs."""


def curve(x: Sequence[float], values: Sequence[float | None], *, highest: float = math.inf) -> Curve:
    """A curve of the known values, interrupted where rounds are missing for long.

    Args:
        highest: what lies above counts as so much for the smooth line, so that one value can't lift a whole stretch.
    """
    known = known_points(x, values)
    parts = _parts([place for place, _ in known], at_most=_POINTS)
    points = [_mean(known[part.start : part.stop]) for part in parts]
    smooth = smoothed([min(value, highest) for _, value in points])
    drawn: list[tuple[float, float, float]] = []
    for index, ((place, value), level) in enumerate(zip(points, smooth, strict=True)):
        if index and parts[index].after_gap:
            drawn.append((place, math.nan, math.nan))
        drawn.append((place, value, level))
    return Curve(
        x=[place for place, _, _ in drawn],
        raw=[value for _, value, _ in drawn],
        smooth=[level for _, _, level in drawn],
        rounds=max((part.stop - part.start for part in parts), default=1),
    )


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Seconds by phase, for bars that touch: ``edges`` has one entry more than each of ``seconds``."""

    edges: list[float]
    seconds: dict[str, list[float]]
    """Phase -> mean seconds a round, for each bar; NaN where rounds are missing."""


def phase_bars(x: Sequence[float], reports: Sequence[RoundReport]) -> Bars:
    """The phases of each round, or of several together in a long run."""
    bars = Bars(edges=[], seconds={phase: [] for phase in PHASES})
    for part in _parts(x, at_most=_BARS):
        first, last = x[part.start] - 0.5, x[part.stop - 1] + 0.5
        if not bars.edges:
            bars.edges.append(first)
        elif first > bars.edges[-1]:
            bars.edges.append(first)
            for seconds in bars.seconds.values():
                seconds.append(math.nan)
        bars.edges.append(last)
        together = reports[part.start : part.stop]
        for phase, seconds in bars.seconds.items():
            seconds.append(sum(phase_seconds(report, phase) for report in together) / len(together))
    return bars


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Neighbours that become one point or bar: those from ``start`` up to but not including ``stop``."""

    start: int
    stop: int
    after_gap: bool


def _parts(x: Sequence[float], *, at_most: int) -> list[_Part]:
    """Cut rounds into parts of equal size, about ``at_most`` of them, none of which spans a gap."""
    jumps = [after - before for before, after in zip(x, x[1:], strict=False)]
    too_far = _GAP * median(jumps) if jumps else math.inf
    size = max(1, math.ceil(len(x) / at_most))
    parts: list[_Part] = []
    start = 0
    for index in range(1, len(x) + 1):
        gap = index < len(x) and jumps[index - 1] > too_far
        if index == len(x) or gap or index - start == size:
            parts.append(_Part(start=start, stop=index, after_gap=start > 0 and jumps[start - 1] > too_far))
            start = index
    return parts


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(place for place, _ in points) / len(points), sum(value for _, value in points) / len(points)


def phase_seconds(report: RoundReport, phase: str) -> float:
    """How long the phase took; 0 where the line has no sensible number of it."""
    value = report.phase_seconds.get(phase)
    return float(value) if isinstance(value, (int, float)) and value >= 0 and _makes_sense(value) else 0.0


def round_seconds(report: RoundReport) -> float | None:
    """How long the round took; None where the line doesn't say."""
    return sum(phase_seconds(report, phase) for phase in PHASES) or None


def most_of_the_time(reports: Sequence[RoundReport]) -> str | None:
    """The phase that took longest in all; None when nothing took any time."""
    totals = {phase: sum(phase_seconds(report, phase) for report in reports) for phase in PHASES}
    longest = max(totals, key=lambda phase: totals[phase])
    return longest if totals[longest] > 0 else None


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Where a noisy curve began and where it has come to."""

    first: float
    last: float
    rounds: int
    """Each is the mean of so many rounds."""


def first_and_last_level(values: Sequence[float | None]) -> Levels | None:
    """None for fewer than four known values."""
    known = _numbers(values)
    few = min(10, len(known) // 4)
    return Levels(first=sum(known[:few]) / few, last=sum(known[-few:]) / few, rounds=few) if few else None


def last_level(values: Sequence[float | None]) -> float | None:
    """The mean of the last few known values; None without any."""
    known = _numbers(values)
    last = known[-min(10, max(1, len(known) // 4)) :]
    return sum(last) / len(last) if last else None


def middle(values: Sequence[float | None]) -> float | None:
    """The median of the known values; None without any."""
    known = _numbers(values)
    return median(known) if known else None


def usual_most(values: Sequence[float | None]) -> float | None:
    """What nine of ten known values don't exceed; None without any."""
    known = sorted(_numbers(values))
    return known[int(0.9 * (len(known) - 1))] if known else None


def known_points(x: Sequence[float], values: Sequence[float | None]) -> list[tuple[float, float]]:
    """(place, value) where there is a value."""
    return [(at, y) for at, y in zip(x, values, strict=True) if y is not None and _makes_sense(y)]


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None and _makes_sense(value)]


def _makes_sense(value: float) -> bool:
    return abs(value) <= _MOST  # False for NaN.

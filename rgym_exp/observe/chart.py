"""The reward curve in characters: a line of braille dots over the rounds, with the held-out accuracy marked on it.

A braille character is a grid of 2 x 4 dots, so a chart of 60 x 6 characters has 120 x 24 points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from rich.text import Text

LINE_STYLE, DOT_STYLE, MARK_STYLE, AXIS_STYLE = "green", "grey42", "bold yellow", "grey50"
MARK = "◆"

_BRAILLE = 0x2800
# Bit of each dot by [row][column] within a character (Unicode, braille patterns).
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_TOPS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What the chart shows, oldest round first."""

    rewards: Sequence[float]
    """Reward of each round, in [0, 1]; drawn as faint dots, and smoothed as the line."""
    marks: Sequence[float | None]
    """Held-out accuracy of the same rounds, None where there was no evaluation."""


def smoothed(values: Sequence[float]) -> list[float]:
    """Moving average around each round, since a round has few problems and is noisy; longer runs are smoothed more."""
    reach = max(1, len(values) // 12) if len(values) > 4 else 0
    sums = [0.0, *accumulate(values)]
    spans = ((max(0, index - reach), min(len(values), index + reach + 1)) for index in range(len(values)))
    return [(sums[end] - sums[start]) / (end - start) for start, end in spans]


def chart(curve: Curve, *, width: int, height: int) -> list[Text]:
    """Lines of exactly ``width`` cells: ``height`` of them, with the scale on the left."""
    top = _scale(curve)
    canvas = _Canvas(columns=max(1, width - 7), rows=height, top=top)
    canvas.scatter(curve.rewards)
    canvas.line(smoothed(curve.rewards))
    canvas.mark(curve.marks)
    labels = {0: f"{top:.2f}", height - 1: "0.00"}
    if height >= 5:
        labels[(height - 1) // 2] = f"{top * (1 - ((height - 1) // 2 + 0.5) / height):.2f}"
    lines = []
    for row, cells in enumerate(canvas.lines()):
        label = labels.get(row, "")
        line = Text(f" {label:>4} ", style=AXIS_STYLE)
        line.append("┤" if label else "│", style=AXIS_STYLE)
        lines.append(line.append_text(cells))
    return lines


def _scale(curve: Curve) -> float:
    highest = max([*curve.rewards, *(mark for mark in curve.marks if mark is not None)], default=0.0)
    return next((top for top in _TOPS if highest <= top), 1.0)


class _Canvas:
    """Dots of two kinds and marks, on a grid of characters."""

    def __init__(self, *, columns: int, rows: int, top: float) -> None:
        self._columns, self._rows, self._top = columns, rows, top
        self._dots: dict[tuple[int, int], int] = {}
        self._on_line: set[tuple[int, int]] = set()
        self._marks: set[tuple[int, int]] = set()

    def scatter(self, values: Sequence[float]) -> None:
        for index, value in enumerate(values):
            self._dot(self._x(index, len(values)), self._y(value))

    def line(self, values: Sequence[float]) -> None:
        points = [(self._x(index, len(values)), self._y(value)) for index, value in enumerate(values)]
        for start, end in zip(points, points[1:], strict=False):
            steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
            for step in range(steps + 1):
                x = start[0] + round((end[0] - start[0]) * step / steps)
                y = start[1] + round((end[1] - start[1]) * step / steps)
                self._dot(x, y, on_line=True)

    def mark(self, values: Sequence[float | None]) -> None:
        for index, value in enumerate(values):
            if value is not None:
                self._marks.add((self._x(index, len(values)) // 2, self._y(value) // 4))

    def lines(self) -> list[Text]:
        return [self._row(row) for row in range(self._rows)]

    def _row(self, row: int) -> Text:
        text = Text()
        for column in range(self._columns):
            cell = (column, row)
            if cell in self._marks:
                text.append(MARK, style=MARK_STYLE)
            elif cell in self._dots:
                style = LINE_STYLE if cell in self._on_line else DOT_STYLE
                text.append(chr(_BRAILLE + self._dots[cell]), style=style)
            else:
                text.append(" ")
        return text

    def _dot(self, x: int, y: int, *, on_line: bool = False) -> None:
        cell = (x // 2, y // 4)
        bit = _BITS[y % 4][x % 2]
        if on_line and cell not in self._on_line:
            # A character has one colour: the line's dots push the faint ones out.
            self._on_line.add(cell)
            self._dots[cell] = bit
        else:
            self._dots[cell] = self._dots.get(cell, 0) | bit

    def _x(self, index: int, count: int) -> int:
        return 0 if count < 2 else round(index * (self._columns * 2 - 1) / (count - 1))

    def _y(self, value: float) -> int:
        lowest = self._rows * 4 - 1
        share = min(1.0, max(0.0, value / self._top)) if value == value else 0.0  # NaN lies at the bottom.
        return round(lowest * (1 - share))

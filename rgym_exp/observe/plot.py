"""Runs as a picture: reward, held-out accuracy and where the time goes, one below the other.

Drawn without a display and without pyplot's global state, in colours that colour-blind people can tell apart (Okabe and
Ito, 2008). The same runs give the same bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rgym_exp.base.text import printable
from rgym_exp.observe.plot_data import (
    PHASES,
    Run,
    curve,
    first_and_last_level,
    last_level,
    middle,
    most_of_the_time,
    phase_bars,
    usual_most,
)

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
BLACK, GREY, LIGHT = "#000000", "#6E6E6E", "#E6E6E6"
RUN_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
LINE_STYLES = ("-", "--", "-.")
PHASE_COLOURS = dict(zip(PHASES, (BLUE, ORANGE, GREEN, "#BDBDBD", PURPLE, SKY, "#F0E442"), strict=True))
_FEW = 60
"""Up to so many rounds, each is also a dot."""

_STYLE: dict[str, Any] = {
    "figure.figsize": (12, 11),
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.hspace": 0.06,
    "font.size": 12,
    "axes.titlesize": 14,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT,
    "legend.frameon": False,
    # Ids in the file are derived from this, not from chance.
    "svg.hashsalt": "rl-swarm",
}
_METADATA: dict[str, dict[str, str | None]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


def draw(runs: Sequence[Run], *, form: str) -> bytes:
    """The picture of one run, with its phases, or of several side by side.

    Args:
        runs: at least one.
        form: png (1200 pixels wide) or svg.
    """
    figure = figure_of(runs)
    picture = io.BytesIO()
    with matplotlib.style.context(["default", _STYLE]):
        figure.savefig(picture, format=form, metadata=_METADATA[form])
    return picture.getvalue()


def figure_of(runs: Sequence[Run]) -> Figure:
    """The same before it is saved."""
    # From the library's defaults, whatever a matplotlibrc of this machine says.
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure()
        if len(runs) == 1:
            _one(figure, runs[0])
        else:
            _several(figure, runs)
    return figure


def _one(figure: Figure, run: Run) -> None:
    reward, accuracy, time = figure.subplots(3, sharex=True)
    x, unit = run.places()
    span = f"rounds {x[0]:.0f} to {x[-1]:.0f}" if len(x) > 1 else f"round {x[0]:.0f}"
    _heading(figure, f"{_plain(run.label)}: {span}")
    _line(reward, x, run.rewards, BLUE, named="each round")
    reward.set_title(f"Reward{_reward_said(run)}")
    _from_zero(reward)
    _accuracy_of_one(accuracy, run, x)
    _phases_of_one(time, run, x)
    time.set_xlabel(unit)
    _whole_numbers(time, _places(run, x))
    for panel in (reward, accuracy, time):
        handles, labels = panel.get_legend_handles_labels()
        if handles:
            # Beside the data, never on it; the phases from top to bottom, as they are stacked.
            turn = -1 if panel is time else 1
            panel.legend(handles[::turn], labels[::turn], loc="upper left", bbox_to_anchor=(1.01, 1))


def _reward_said(run: Run) -> str:
    if levels := first_and_last_level(run.rewards):
        few = "round" if levels.rounds == 1 else f"{levels.rounds} rounds"
        return f": {levels.first:.2f} in the first {few}, {levels.last:.2f} in the last"
    level = last_level(run.rewards)
    return "" if level is None else f": {level:.2f}"


def _accuracy_of_one(panel: Axes, run: Run, x: Sequence[float]) -> None:
    said = []
    evaluated = run.evaluations(x)
    for place, value in dict.fromkeys([*evaluated[:1], *evaluated[-1:]]):
        said.append(f"{value:.2f} {f'in round {place:.0f}' if place >= x[0] else 'before training'}")
    titles = [f"Held-out accuracy: {', '.join(said)}"] if said else []
    if (level := last_level(run.scores)) is not None:
        _line(panel, x, run.scores, PURPLE, named="judge's score")
        titles.append(f"{'the judge' if said else 'The judge'}'s score: {level:.2f} of late")
    _marks(panel, evaluated, VERMILLION, label="held-out")
    panel.set_title("; ".join(titles) or "Held-out accuracy")
    _from_zero(panel)
    if not titles:
        _nothing(panel)


def _phases_of_one(panel: Axes, run: Run, x: Sequence[float]) -> None:
    bars = phase_bars(x, run.reports)
    below = [0.0] * (len(bars.edges) - 1)
    for phase, seconds in bars.seconds.items():
        above = [low + more for low, more in zip(below, seconds, strict=True)]
        if any(more > 0 for more in seconds):
            colour = PHASE_COLOURS[phase]
            panel.stairs(above, bars.edges, baseline=below, fill=True, color=colour, label=phase, linewidth=0)
        below = above
    median, most = middle(run.seconds), most_of_the_time(run.reports)
    said = f": median {median:.1f}, longest phase {most}" if median and most else ""
    panel.set_title(f"Seconds a round{said}{_scale_seconds(panel, run.seconds)}")
    panel.set_ylabel("seconds")


def _several(figure: Figure, runs: Sequence[Run]) -> None:
    reward, accuracy, time = figure.subplots(3, sharex=True)
    _heading(figure, f"{len(runs)} runs side by side")
    for number, run in enumerate(runs):
        colour, style = RUN_COLOURS[number % len(RUN_COLOURS)], LINE_STYLES[number // len(RUN_COLOURS) % 3]
        _line(reward, run.steps, run.rewards, colour, label=_plain(run.label), style=style)
        _marks(accuracy, run.evaluations(run.steps), colour, style=style)
        _line(accuracy, run.steps, run.scores, colour, style=":", raw=False)
        _line(time, run.steps, run.seconds, colour, style=style, highest=_far_beyond(run.seconds))
    judged = any(last_level(run.scores) is not None for run in runs)
    evaluated = any(run.evaluations(run.steps) for run in runs)
    reward.set_title(_winner("Reward, highest at the end: {} ({:.2f})", runs, lambda run: last_level(run.rewards), max))
    compared = _winner("Held-out accuracy, highest at the end: {} ({:.2f})", runs, _last_held_out, max)
    if judged and evaluated:
        accuracy.set_title(f"{compared}; dotted: the judge's score")
    else:
        accuracy.set_title("The judge's score" if judged else compared)
    if not judged and not evaluated:
        _nothing(accuracy)
    _from_zero(reward)
    _from_zero(accuracy)
    shortest = _winner("Seconds a round, fewest: {} (median {:.1f})", runs, lambda run: middle(run.seconds), min)
    time.set_title(shortest + _scale_seconds(time, [seconds for run in runs for seconds in run.seconds]))
    time.set_ylabel("seconds")
    time.set_xlabel("rounds taken part in")
    _whole_numbers(time, [place for run in runs for place in _places(run, run.steps)])
    figure.legend(*reward.get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(runs)))


def _winner(
    said: str,
    runs: Sequence[Run],
    number: Callable[[Run], float | None],
    choose: Callable[[list[tuple[float, int]]], tuple[float, int]],
) -> str:
    """A title that says which run is first, and with what number."""
    known = [(value, place) for place, run in enumerate(runs) if (value := number(run)) is not None]
    if not known:
        return said.split(",")[0]
    value, place = choose(known)
    return said.format(_plain(runs[place].label), value)


def _places(run: Run, x: Sequence[float]) -> list[float]:
    """Where something is drawn: at the rounds, and before them."""
    return [*x, *(place for place, _ in run.evaluations(x))]


def _last_held_out(run: Run) -> float | None:
    evaluated = run.evaluations(run.steps)
    return evaluated[-1][1] if evaluated else None


def _line(
    panel: Axes,
    x: Sequence[float],
    values: Sequence[float | None],
    colour: str,
    *,
    label: str | None = None,
    named: str | None = None,
    style: str = "-",
    raw: bool = True,
    highest: float = math.inf,
) -> None:
    """A smooth line with the raw values faint behind it.

    Args:
        label: the smooth line's, in the legend.
        named: what the raw values are; given where they stand in the legend, too.
    """
    drawn = curve(x, values, highest=highest)
    if raw:
        marker = "o" if named and len(drawn.x) <= _FEW else ""
        faint = named if drawn.rounds == 1 or named is None else f"{named}, mean of {drawn.rounds}"
        panel.plot(drawn.x, drawn.raw, color=colour, alpha=0.3, linewidth=1, marker=marker, markersize=4, label=faint)
    # A line through one point is nothing; a dot is.
    single = "o" if len(drawn.x) == 1 else ""
    label = "smoothed" if named else label
    panel.plot(drawn.x, drawn.smooth, color=colour, linewidth=2.5, linestyle=style, marker=single, label=label)


def _marks(
    panel: Axes, points: Sequence[tuple[float, float]], colour: str, *, label: str | None = None, style: str = "-"
) -> None:
    drawn = curve([place for place, _ in points], [value for _, value in points])
    if drawn.x:
        size = 8 if len(drawn.x) <= _FEW / 2 else 4
        panel.plot(
            drawn.x, drawn.raw, color=colour, linewidth=1.2, linestyle=style, marker="D", markersize=size, label=label
        )


def _from_zero(panel: Axes) -> None:
    """A scale from 0 to a little above the highest value, and not beyond 1, which is the most that there is."""
    heights = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in panel.lines] or [np.ones(1)])
    top = min(1.0, 1.15 * np.nanmax(heights, initial=0.0)) or 0.1
    panel.set_ylim(-0.02 * top, 1.04 * top)


def _far_beyond(seconds: Sequence[float | None]) -> float:
    """Longer rounds (a hub was away) may not flatten all others; infinite where there are none."""
    most = usual_most(seconds)
    return math.inf if most is None else 4 * most


def _scale_seconds(panel: Axes, seconds: Sequence[float | None]) -> str:
    """Scale a panel to the usual rounds; what the title must say where a longer one reaches beyond."""
    longest = max((value for value in seconds if value is not None), default=1.0)
    if longest <= _far_beyond(seconds):
        panel.set_ylim(0, 1.05 * longest)
        return ""
    panel.set_ylim(0, _far_beyond(seconds) / 2)
    return f" (cut off: one of {longest:.0f})"


def _whole_numbers(panel: Axes, x: Sequence[float]) -> None:
    room = max(0.5, 0.01 * (max(x) - min(x))) if max(x) > min(x) else 2.0
    panel.set_xlim(min(x) - room, max(x) + room)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12, min_n_ticks=1))


def _nothing(panel: Axes) -> None:
    said = "no evaluation in these rounds (eval.every_rounds, judge.every_rounds)"
    panel.text(0.5, 0.5, said, transform=panel.transAxes, ha="center", va="center", color=GREY)


def _heading(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.012, ha="left", fontsize=18, weight="bold")


def _plain(text: str) -> str:
    """A label as it is: no formulas between dollar signs, no control characters, and not hidden from the legend."""
    shown = printable(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown

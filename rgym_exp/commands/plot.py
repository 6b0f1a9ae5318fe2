"""``rl-swarm plot``: what a run was like, as a picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rgym_exp.base.called import path_for_user
from rgym_exp.errors import SwarmUserError

if TYPE_CHECKING:
    from rgym_exp.observe.plot_data import Run

EPILOG = """examples:
  rl-swarm plot                                          this home's run, to logs/metrics.png
  rl-swarm plot --output run.svg
  rl-swarm plot ~/one ~/two --labels "G = 8" "G = 16"    runs side by side

Reads logs/metrics.jsonl, while the node runs too. Of rounds that were trained on again after a crash, the later ones
count. docs/metrics.md says what the curves mean and what to do when they look bad."""

FORMS = {".png": "png", ".svg": "svg"}


class PlotError(SwarmUserError):
    """There is nothing to plot, or nowhere to put it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``rl-swarm plot``."""
    parser.epilog = EPILOG
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        type=Path,
        help="a home, its logs folder, or a metrics.jsonl (default: this home)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="where the picture goes, .png or .svg (default: metrics.png beside the first metrics.jsonl)",
    )
    parser.add_argument(
        "--labels", nargs="+", metavar="NAME", help="what the runs are called, one for each PATH (default: their homes)"
    )


def execute(args: argparse.Namespace) -> int:
    """Draw the picture and say where it is.

    Raises:
        PlotError: no round was recorded, labels and paths don't match, or the picture can't be written.
    """
    files = [metrics_file(path) for path in args.paths or [args.home.root]]
    output: Path = args.output or files[0].with_name("metrics.png")
    form = FORMS.get(output.suffix.lower())
    if form is None:
        raise PlotError(f"--output {output} must end in .png or .svg: the name says which kind of picture is meant.")
    if args.labels and len(args.labels) != len(files):
        raise PlotError(
            f"There are {len(files)} runs and {len(args.labels)} --labels; give one for each PATH, after the paths."
        )
    runs = [load(file, label) for file, label in zip(files, args.labels or labels_of(files), strict=True)]

    from rgym_exp.base.files import atomic_write
    from rgym_exp.observe.plot import draw

    picture = draw(runs, form=form)
    try:
        atomic_write(output, picture)
    except OSError as error:
        raise PlotError(f"The picture can't be written: {error}. Name another place with --output FILE.") from error
    counted = ", ".join(f"{run.label} ({_rounds(len(run.reports))})" for run in runs)
    print(f"{counted}: {path_for_user(output)}")
    return 0


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def metrics_file(path: Path) -> Path:
    """The metrics in a home, in its logs folder, or the file itself.

    Raises:
        PlotError: there are none.
    """
    path = path.expanduser()
    for file in (path / "logs" / "metrics.jsonl", path / "metrics.jsonl", path):
        if file.is_file():
            return file
    raise PlotError(
        f"There is no metrics.jsonl in {path}. A run writes it to its home's logs folder when its first round is done;"
        " name the home, the logs folder or the file."
    )


def load(file: Path, label: str) -> Run:
    """The run recorded in a file.

    Raises:
        PlotError: it can't be read, or holds no round.
    """
    from rgym_exp.observe.metrics import read_history
    from rgym_exp.observe.plot_data import run_of

    try:
        run = run_of(label, read_history(file))
    except OSError as error:
        raise PlotError(f"{file} can't be read: {error}.") from error
    if run is None:
        raise PlotError(f"{file} holds no finished round yet. A run adds a line after each; try again later.")
    return run


def labels_of(files: Sequence[Path]) -> list[str]:
    """The names of the runs' homes; their whole paths where names are alike."""
    homes = [file.absolute().parent for file in files]
    homes = [home.parent if home.name == "logs" else home for home in homes]
    names = [home.name or str(home) for home in homes]
    return [name if names.count(name) == 1 else str(home) for name, home in zip(names, homes, strict=True)]

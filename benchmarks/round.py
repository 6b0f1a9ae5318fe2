"""Our whole round beside plain TRL: the same model, shape and process, in turns.

    python -m benchmarks.round
    python -m benchmarks.round --shapes 4x8x150x20 --repeats 5 --json round.json

A shape is groups x completions x prompt tokens x completion tokens; every answer is forced to its full length. Arms:

* ``trl``: GRPOTrainer as it comes, in fp32: its own generation, then its own step;
* ``ours``: a round of this project with local groups only, so that both arms sample and train the same amount;
* ``swarm``: the same round with half of the groups from another peer, over two real libp2p daemons.

Overhead is what a round spends outside of generation and the optimizer step, over what it spends on them.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.arms import Measured, Shape, our_arm, trl_arm
from rgym_exp.training.bundled import BUNDLED_MODEL


def compare(shape: Shape, repeats: int) -> list[Measured]:
    """All arms in turn, one warm-up and ``repeats`` counted rounds each."""
    logging.getLogger("rl_swarm").setLevel(logging.WARNING)
    with TemporaryDirectory() as folder:
        rounds = repeats + 1
        arms = [
            trl_arm(shape, rounds),
            our_arm(shape, rounds, Path(folder), with_peer=False),
            our_arm(shape, rounds, Path(folder), with_peer=True),
        ]
        for number in range(rounds):
            for arm in arms:
                arm.round(counts=number > 0)
    return [arm.measured for arm in arms]


def show(shape: Shape, measured: Sequence[Measured]) -> None:
    """One table per shape; ratios are medians of the rounds' own ratios, since a machine's speed drifts."""
    table = Table(title=f"{shape}, {BUNDLED_MODEL}, {torch.get_num_threads()} CPU threads", title_justify="left")
    for column in ("arm", "round s", "x as fast as trl", "sampled tokens/s", "overhead", "memory in the round"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for row in measured:
        seconds = statistics.median(row.seconds)
        ratios = [theirs / ours for theirs, ours in zip(measured[0].seconds, row.seconds, strict=True)]
        overhead = f"{100 * statistics.median(row.overheads):.1f} %" if row.overheads else "-"
        table.add_row(
            row.arm, f"{seconds:.2f}", f"{statistics.median(ratios):.2f}", f"{row.sampled_tokens / seconds:.0f}",
            overhead, f"{row.extra_bytes / 1024**3:.2f} GiB",
        )  # fmt: skip
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", type=Shape.parse, default=["4x8x150x20", "2x8x54x64"], metavar="GxCxPxT")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args(argv)
    results = []
    # A process for each shape: nothing of what the one before took is left, above all none of TRL's 9 GiB.
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"), max_tasks_per_child=1) as fresh:
        for shape in args.shapes:
            chosen = Shape.parse(shape) if isinstance(shape, str) else shape
            measured = fresh.submit(compare, chosen, args.repeats).result()
            show(chosen, measured)
            results.append({"shape": asdict(chosen), "arms": [asdict(row) for row in measured]})
    if args.json:
        args.json.write_text(json.dumps({"threads": torch.get_num_threads(), "results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

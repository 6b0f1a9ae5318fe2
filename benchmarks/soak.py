"""Whether a swarm's processes stay as large as they are: a hub and real nodes, watched for an hour.

    python -m benchmarks.soak [--minutes 60] [--nodes 3] [--model smollm2|tiny] [--samples soak.jsonl]

Starts ``rl-swarm hub`` and nodes that joined by its invite, each a process of its own with a home of its own in a
temporary folder, on free ports, without the login page. ``smollm2`` is what a joiner gets; ``tiny`` is a model of 35
thousand parameters with rounds of a second, which is much exchange, chain and disk in little time. Every 30 s the
memory (RSS), file descriptors and threads of every process are looked at, children included (chain, peer-to-peer
daemons, scoring workers), and what each home takes on the disk.

The rule: the slope of a quantity is Theil-Sen's (the median of the slopes between any two samples) over the samples
after the warm-up, a sixth of the time. It grows when what that slope adds in the measured time, at most an hour of it,
is over 5 % of what there was at the start and over an allowance, which one odd sample or a line a round can't reach:
24 MiB of memory, 12 descriptors, 3 threads, 64 MiB of disk. The chain may gain 64 MiB of memory: it is renewed each
time its state has grown by 4 MiB, and an hour may see the half of a saw's tooth. A short run can only see what grows
fast, and rounds of a second fill what is kept for half an hour, or by the thousand, for most of an hour.

The exit status is 1 when something grows, a process ends by itself, or a node finishes no round.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import psutil

from tests.support.processes import HubProgram, NodeProgram, Program, wait_for
from tests.support.tiny_model import save_tiny_model

NAMES = ("ada", "bea", "cem", "dan", "eve", "fay", "gus", "hal")
FIRST_ROUND_SECONDS = 900.0
"""Several nodes of the larger model load and evaluate it at the same time, on whatever machine this is."""
WARM_UP_SHARE = 1 / 6
EDGE_SAMPLES = 5
"""How many samples the figures of start and end are the median of."""
LEAST_SAMPLES = 4
"""A process seen less often came and went: nothing is said of it."""
GROWTH_SHARE = 0.05
ALLOWANCES = {"memory": 24 * 2**20, "descriptors": 12.0, "threads": 3.0, "disk": 64 * 2**20}
SAW_ALLOWANCES = {("anvil", "memory"): 64.0 * 2**20}
"""For what rises until it is started anew, by the last word of the process's name."""
UNITS = {"memory": (2**20, "MiB"), "descriptors": (1, ""), "threads": (1, ""), "disk": (2**20, "MiB")}


class SoakError(Exception):
    """The swarm did not do what is watched: a process ended, or a node finished no round."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One quantity of one process (or home) at one moment."""

    seconds: float
    """Since the first sample."""
    process: str
    """``ada``, ``ada p2pd``, ``hub anvil``, ...; a home folder is its owner's."""
    quantity: str
    """``memory`` and ``disk`` (bytes), ``descriptors``, ``threads``."""
    value: float


@dataclass(frozen=True, kw_only=True)
class Trend:
    """What became of one quantity of one process after the warm-up."""

    process: str
    quantity: str
    start: float
    end: float
    per_hour: float
    """Theil-Sen's slope, in the quantity's unit an hour."""
    grows: bool


def main() -> int:
    """Parse the command line, watch, print a table; the exit status."""
    parser = argparse.ArgumentParser(description="Watch a hub and real nodes: do memory, files, threads, disk grow?")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long to watch (default: %(default)g)")
    parser.add_argument("--nodes", type=int, choices=range(1, len(NAMES) + 1), default=3, help="default: %(default)s")
    parser.add_argument("--model", choices=("smollm2", "tiny"), default="smollm2", help="default: %(default)s")
    parser.add_argument("--every", type=float, default=30.0, metavar="SECONDS", help="pause between two samples")
    parser.add_argument("--samples", type=Path, default=Path("soak.jsonl"), help="where they go (default: %(default)s)")
    arguments = parser.parse_args()
    # As Ctrl-C does, so that nothing is left running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as life:
            programs = start(Path(folder), arguments.nodes, arguments.model, life)
            samples = watch(programs, 60 * arguments.minutes, arguments.every, arguments.samples)
    except (SoakError, AssertionError) as error:  # what the processes' own waiting raises
        print(error, file=sys.stderr)
        return 1
    found = trends(samples, warm_up_seconds=60 * arguments.minutes * WARM_UP_SHARE)
    print("\n".join(table(found)))
    return 1 if any(trend.grows for trend in found) else 0


def start(folder: Path, nodes: int, model: str, life: ExitStack) -> list[Program]:
    """The hub and the nodes, each of which has finished a round when this returns."""
    hub = life.enter_context(HubProgram(folder / "hub", preloaded=False))
    invite = hub.invite()
    tiny = save_tiny_model(folder / "model") if model == "tiny" else None
    joined = [
        life.enter_context(NodeProgram(folder / name, tiny, "observe.page=no", invite=invite, preloaded=False))
        for name in NAMES[:nodes]
    ]
    for node in joined:
        wait_for(
            node.reports, what=f"the first round of {node.name}", programs=(node, hub), seconds=FIRST_ROUND_SECONDS
        )
    return [hub, *joined]


def watch(programs: Sequence[Program], seconds: float, every: float, file: Path) -> list[Sample]:
    """Take samples for so long, and write each to the file (JSON lines) at once.

    Raises:
        SoakError: a program ended, or a node finished no round meanwhile.
    """
    nodes = [program for program in programs if isinstance(program, NodeProgram)]
    before = {node.name: len(node.reports()) for node in nodes}
    samples: list[Sample] = []
    began = time.monotonic()
    with file.open("w", encoding="utf-8") as lines:
        while (passed := time.monotonic() - began) < seconds:
            for program in programs:
                if program.status is not None:
                    raise SoakError(f"{program.name} ended with {program.status}.\n{program.last_words()}")
                for sample in look(program, passed):
                    samples.append(sample)
                    lines.write(f"{json.dumps(asdict(sample))}\n")
            lines.flush()
            rounds = ", ".join(str(len(node.reports()) - before[node.name]) for node in nodes)
            print(f"minute {passed / 60:5.1f}: rounds finished {rounds}", flush=True)
            time.sleep(min(every, max(0.0, seconds - (time.monotonic() - began))))
    for node in nodes:
        reports = node.reports()[before[node.name] :]
        if not reports:
            raise SoakError(f"{node.name} finished no round.\n{node.last_words()}")
        company = sum(bool(report.external_groups) for report in reports)
        print(f"{node.name}: {len(reports)} rounds, {company} of them with external groups")
    return samples


def look(program: Program, seconds: float) -> Iterator[Sample]:
    """The samples of one program, its children and its home; children of one kind are added up."""
    name = program.home.root.name
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for process in [psutil.Process(program.process.pid), *program.children()]:
        try:
            with process.oneshot():
                kind = "" if process.pid == program.process.pid else f" {kind_of(process.cmdline())}"
                used = {
                    "memory": process.memory_info().rss,
                    "descriptors": process.num_fds(),
                    "threads": process.num_threads(),
                }
        except psutil.Error:
            continue  # it has just ended
        sums[name + kind].update(used)
    sums[name]["disk"] = disk_bytes(program.home.root)
    for process_name, quantities in sums.items():
        for quantity, value in quantities.items():
            yield Sample(seconds=round(seconds, 1), process=process_name, quantity=quantity, value=value)


def kind_of(command: Sequence[str]) -> str:
    """What a child is, by its command line."""
    words = " ".join(command)
    return next((kind for kind in ("p2pd", "anvil", "scoring_worker") if kind in words), "other")


def disk_bytes(folder: Path) -> int:
    """What the files below a folder take on the disk."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += 512 * path.lstat().st_blocks
        except FileNotFoundError:
            continue  # written anew at this moment
    return total


def trends(samples: Iterable[Sample], *, warm_up_seconds: float) -> list[Trend]:
    """What became of each quantity of each process after the warm-up, in the order of the samples."""
    series: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        if sample.seconds >= warm_up_seconds:
            series[sample.process, sample.quantity].append((sample.seconds, sample.value))
    return [
        trend_of(process, quantity, points)
        for (process, quantity), points in series.items()
        if len(points) >= LEAST_SAMPLES
    ]


def trend_of(process: str, quantity: str, points: Sequence[tuple[float, float]]) -> Trend:
    """The trend of one series of (seconds, value)."""
    start_value = statistics.median(value for _, value in points[:EDGE_SAMPLES])
    per_hour = 3600 * slope(points)
    measured_hours = min(1.0, (points[-1][0] - points[0][0]) / 3600)
    added = per_hour * measured_hours
    allowance = SAW_ALLOWANCES.get((process.split()[-1], quantity), ALLOWANCES[quantity])
    return Trend(
        process=process,
        quantity=quantity,
        start=start_value,
        end=statistics.median(value for _, value in points[-EDGE_SAMPLES:]),
        per_hour=per_hour,
        grows=added > max(GROWTH_SHARE * start_value, allowance),
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Theil-Sen's: the median of the slopes between any two points, which a few odd ones don't move."""
    return statistics.median((b - a) / (later - earlier) for (earlier, a), (later, b) in combinations(points, 2))


def table(found: Sequence[Trend], units: Mapping[str, tuple[int, str]] = UNITS) -> Iterator[str]:
    """The lines to print, and last what is to be said of all."""
    yield f"\n{'process':<22} {'quantity':<12} {'start':>9} {'end':>9} {'an hour':>9}      verdict"
    for trend in found:
        divisor, unit = units[trend.quantity]
        figures = " ".join(f"{value / divisor:>9.1f}" for value in (trend.start, trend.end, trend.per_hour))
        yield f"{trend.process:<22} {trend.quantity:<12} {figures} {unit:<4} {'GROWS' if trend.grows else 'flat'}"
    growing = [f"{trend.process}'s {trend.quantity}" for trend in found if trend.grows]
    yield f"Growing: {', '.join(growing)}." if growing else "Everything is flat."


if __name__ == "__main__":
    sys.exit(main())

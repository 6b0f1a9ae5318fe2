"""Real nodes in two homes behind routers and one in public, over a line with delay and loss, watched for a while.

    python -m benchmarks.homes [--minutes 10] [--delay-ms 100] [--loss 2] [--away 90] [--model tiny|smollm2]

Needs what the tests of tests/network need (root, /dev/net/tun, ip, nft, a C compiler). ``rl-swarm hub`` runs in public,
one node beside it, one in each home; a home's line has so much delay in each direction and loses so many packets. In
the middle the hub is killed (SIGKILL), and started again after ``--away`` seconds. Said at the end: each node's rounds,
how many had external groups, which way shares came, interim rounds, and how soon after the hub's return each was heard
again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rgym_exp.observe.metrics import read_reports
from rgym_exp.types import RoundReport
from tests.support.network_lab import ROOT, Link, NetworkLab, Place, missing
from tests.support.processes import small_settings
from tests.support.tiny_model import save_tiny_model

_LOOK_SECONDS = 15.0
_START_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node's process."""

    name: str
    home: Path
    process: subprocess.Popen[bytes]

    def reports(self) -> list[RoundReport]:
        """The rounds that it has finished."""
        return read_reports(self.home / "logs" / "metrics.jsonl")


class Hub:
    """The hub in public, which can be killed and started again."""

    def __init__(self, lab: NetworkLab, folder: Path) -> None:
        self._lab, self._home, self._runs = lab, folder / "hub", 0
        self._home.mkdir()
        self.invite = self.start()

    def start(self) -> str:
        """Start it and return the invite that it prints."""
        self._runs += 1
        output = self._home / f"terminal-{self._runs}.txt"
        place = self._lab.hub
        command = _rl_swarm("hub", self._home, "--host", "0.0.0.0", "--public-host", place.address)
        self._process = self._lab.start(place, command, output=output, environ=_ENVIRON)
        ends = time.monotonic() + _START_SECONDS
        while not (found := re.search(r"--join (rlswarm1:\S+)", output.read_text(errors="replace"))):
            if self._process.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"The hub did not start:\n{output.read_text(errors='replace')}")
            time.sleep(0.2)
        return found[1]

    def kill(self) -> None:
        """End it as a power cut would; its chain and bootnode end with it."""
        self._process.kill()
        self._process.wait()


def main() -> int:
    """Watch, and print what was seen."""
    arguments = _arguments()
    if why_not := missing():
        print(why_not, file=sys.stderr)
        return 2
    link = Link(delay_ms=arguments.delay_ms, loss_percent=arguments.loss)
    with tempfile.TemporaryDirectory() as temporary, NetworkLab(Path(temporary), link=link) as lab:
        folder = Path(temporary)
        hub = Hub(lab, folder)
        model = save_tiny_model(folder / "model") if arguments.model == "tiny" else None
        places = {"public": lab.hub, "home one": lab.homes[0], "home two": lab.homes[1]}
        nodes = [_start(lab, place, folder, name, hub.invite, model) for name, place in places.items()]
        half = 60 * arguments.minutes / 2
        _watch(nodes, half)
        hub.kill()
        print(f"--- the hub was killed; back in {arguments.away:.0f} s", flush=True)
        _watch(nodes, arguments.away)
        hub.start()
        back = time.time()
        print("--- the hub is back", flush=True)
        _watch(nodes, max(60.0, half - arguments.away))
        _print_table(nodes, back)
    return 0


def _watch(nodes: Sequence[Node], seconds: float) -> None:
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        time.sleep(min(_LOOK_SECONDS, left))
        for node in nodes:
            if node.process.poll() is not None:
                raise SystemExit(f"The node {node.name} ended by itself; see {node.home}.")
        print(" · ".join(_now(node) for node in nodes), flush=True)


def _now(node: Node) -> str:
    reports = node.reports()
    if not reports:
        return f"{node.name}: starting"
    last = reports[-1]
    name = f"{last.round}+{last.interim}" if last.interim else str(last.round)
    ways = ", ".join(f"{count} {way}" for way, count in last.way_counts.items()) or "none"
    return f"{node.name}: round {name}, {last.external_groups} external groups, shares {ways}"


def _print_table(nodes: Sequence[Node], back: float) -> None:
    print(
        "\n| node | rounds | with external groups | interim rounds | of them with | shares by way | heard again after |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for node in nodes:
        reports = node.reports()
        # What came before everybody was there is no fault of the network's.
        first = next((number for number, report in enumerate(reports) if report.external_groups), len(reports))
        played = [report for report in reports[first:] if not report.interim]
        interim = [report for report in reports if report.interim]
        ways: Counter[str] = Counter()
        for report in reports:
            ways.update(report.way_counts)
        again = [
            report.time - back
            for report in reports
            if report.time > back and not report.interim and report.external_groups
        ]
        print(
            f"| {node.name} | {len(played)} | {_share(played)} | {len(interim)} | {_share(interim)} | "
            f"{', '.join(f'{count} {way}' for way, count in sorted(ways.items())) or '-'} | "
            f"{f'{again[0]:.0f} s' if again else 'not'} |"
        )


def _share(reports: Sequence[RoundReport]) -> str:
    heard = sum(report.external_groups > 0 for report in reports)
    return f"{heard / len(reports):.0%}" if reports else "-"


def _start(lab: NetworkLab, place: Place, folder: Path, name: str, invite: str, model: Path | None) -> Node:
    home = folder / name.replace(" ", "-")
    home.mkdir()
    settings = small_settings(model) if model is not None else ["observe.page=no", "eval.every_rounds=0"]
    command = _rl_swarm("run", home, "--join", invite, *settings)
    process = lab.start(place, command, output=home / "terminal.txt", environ=_ENVIRON)
    return Node(name=name, home=home, process=process)


def _rl_swarm(command: str, home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "rgym_exp.cli", command, "--home", str(home), *arguments]


_ENVIRON = {"PYTHONPATH": os.pathsep.join([str(ROOT)]), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to watch in all (10)")
    parser.add_argument("--delay-ms", type=float, default=100.0, help="of a home's line, in each direction (100)")
    parser.add_argument("--loss", type=float, default=2.0, help="per cent of packets that a home's line loses (2)")
    parser.add_argument("--away", type=float, default=90.0, help="seconds that the hub is away in the middle (90)")
    parser.add_argument("--model", choices=("tiny", "smollm2"), default="tiny")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""A bootnode and light peers as real processes in a ``NetworkLab``, and what the peers report of their rounds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.network_lab import ROOT, NetworkLab, Place

BOOTNODE_PORT = 38331
_LONGEST_START_SECONDS = 60.0
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class PlayedRound:
    """One round as a light peer reports it."""

    round: int
    began: float
    """Seconds since the epoch."""
    heard: tuple[str, ...]
    """Peer ids whose shares it got."""
    ways: Mapping[str, str]


class LightPeer:
    """One light peer's process."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process, self._output = process, output

    def rounds(self) -> list[PlayedRound]:
        """All rounds that it has reported."""
        return [
            PlayedRound(round=report["round"], began=report["began"], heard=tuple(report["from"]), ways=report["ways"])
            for report in self._reports()
            if "round" in report
        ]

    def said(self) -> str:
        """All that it printed, for a test's words about a failure, too."""
        return self._output.read_text(errors="replace")

    def require_running(self) -> None:
        """Raise an AssertionError with its last words if it has ended."""
        assert self._process.poll() is None, f"A light peer ended:\n{self.said()[-3000:]}"

    def _reports(self) -> Iterator[dict[str, Any]]:
        for line in self.said().splitlines():
            if line.startswith("{"):
                yield json.loads(line)


class LightSwarm:
    """See the module."""

    def __init__(self, lab: NetworkLab, folder: Path) -> None:
        self.lab = lab
        self.peers: list[LightPeer] = []
        self._folder = folder
        self._bootnodes: list[subprocess.Popen[bytes]] = []
        self._addresses: dict[str, None] = {}

    def start_bootnode(self, number: int = 0) -> None:
        """Start a bootnode at a place in public, with the identity that it had before, and wait until it listens."""
        place = self.lab.publics[number]
        home = self._folder / f"bootnode{number}"
        home.mkdir(exist_ok=True)
        output = self._folder / f"bootnode{number}-{len(self._bootnodes)}.log"
        command = [
            *(sys.executable, "-m", "tests.support.light_bootnode", "--home", str(home), "--public", place.address),
            *("--host", "::" if ":" in place.address else "0.0.0.0", "--port", str(BOOTNODE_PORT)),
        ]
        process = self.lab.start(place, command, output=output, environ=_ENVIRON)
        ends = time.monotonic() + _LONGEST_START_SECONDS
        while not (lines := [line for line in output.read_text().splitlines() if line.startswith("BOOTNODE ")]):
            assert process.poll() is None and time.monotonic() < ends, f"No bootnode:\n{output.read_text()}"
            time.sleep(_LOOK_SECONDS)
        self._bootnodes.append(process)
        self._addresses[lines[0].split()[1]] = None

    def kill_bootnode(self) -> None:
        """End the one that was started last, as a power cut would."""
        self._bootnodes[-1].kill()
        self._bootnodes[-1].wait()

    def start_peers(
        self, places: Sequence[Place], *, chars: int = 256, round_seconds: float = 3.0, port: int = 0
    ) -> None:
        """One light peer at each place; ``chars`` is the length of each of its 32 completions."""
        for place in places:
            name = f"peer{len(self.peers)}"
            output = self._folder / f"{name}.log"
            command = [
                *(sys.executable, "-m", "tests.support.light_peer", "--home", str(self._folder / name)),
                *("--bootnodes", *self._addresses, "--chars", str(chars), "--round-seconds", str(round_seconds)),
                *("--port", str(port)),
            ]
            self.peers.append(LightPeer(self.lab.start(place, command, output=output, environ=_ENVIRON), output))

    def play(self, rounds: int, *, longest_seconds: float) -> list[list[PlayedRound]]:
        """Wait until every peer has reported so many more rounds, and return those, by peer."""
        before = [len(peer.rounds()) for peer in self.peers]
        ends = time.monotonic() + longest_seconds
        while any(len(peer.rounds()) < count + rounds for peer, count in zip(self.peers, before, strict=True)):
            for peer in self.peers:
                peer.require_running()
            assert time.monotonic() < ends, f"{rounds} rounds were not played in time:\n{self.peers[0].said()[-3000:]}"
            time.sleep(_LOOK_SECONDS)
        return [peer.rounds()[count : count + rounds] for peer, count in zip(self.peers, before, strict=True)]


def common_rounds(played: Sequence[Sequence[PlayedRound]]) -> list[list[PlayedRound]]:
    """Only the rounds that all took part in: a peer that starts a little later has nobody to be heard by before."""
    numbers = set.intersection(*({each.round for each in rounds} for rounds in played))
    return [[each for each in rounds if each.round in numbers] for rounds in played]


def heard_share(rounds: Sequence[PlayedRound]) -> float:
    """In which share of the rounds somebody else was heard, in [0, 1]."""
    return sum(bool(each.heard) for each in rounds) / len(rounds)


def ways_of(rounds: Sequence[PlayedRound]) -> Counter[str]:
    """How many shares came which way."""
    total: Counter[str] = Counter()
    for each in rounds:
        total.update(each.ways.values())
    return total


_ENVIRON = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

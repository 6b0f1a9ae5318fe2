"""A hub in a process of its own, with a real chain and a real bootnode, on free ports."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from rgym_exp.errors import HubError
from rgym_exp.hub.client import hub_invite

REPOSITORY = Path(__file__).parents[3]


def package_path() -> str:
    """PYTHONPATH with which a program in any folder finds the package."""
    return os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])


class HubProcess:
    """A ``rl-swarm hub`` that was started, and what it has printed."""

    def __init__(self, home: Path, arguments: list[str]) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rgym_exp.cli", "hub", "--home", str(home), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": package_path()},
        )
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self.lines.append(line.strip())
                self._said.notify_all()
        with self._said:
            self.lines.append("(end)")
            self._said.notify_all()

    def invite(self) -> str:
        """The invite that the hub prints, once it does."""
        with self._said:
            self._said.wait_for(lambda: any("--join rlswarm" in line for line in self._ended()), timeout=60)
        line = next((line for line in self.lines if "--join rlswarm" in line), None)
        assert line is not None, "\n".join(self.lines)
        return line.split("--join ")[1]

    def _ended(self) -> list[str]:
        return [*self.lines, "--join rlswarm"] if self.lines and self.lines[-1] == "(end)" else self.lines

    def children(self) -> list[psutil.Process]:
        """The processes that the hub has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def output(self) -> str:
        """All that it printed; waits for its end."""
        self.process.wait(30)
        self._reader.join(30)
        return "\n".join(self.lines[:-1])

    def stop(self) -> int:
        """Tell it to stop, and wait; the exit status."""
        self.process.terminate()
        return self.process.wait(30)


def answers(hub_url: str) -> bool:
    """Whether a hub answers there."""
    try:
        return bool(hub_invite(hub_url))
    except HubError:
        return False

"""``rl-swarm`` as people run it: processes of their own, each with its home, watched through what they leave behind."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import psutil

from rgym_exp.base.ports import free_port
from rgym_exp.chain.account import load_account
from rgym_exp.chain.outbox_reading import read_outbox
from rgym_exp.config.invite import Invite, read_invite
from rgym_exp.config.paths import Home
from rgym_exp.errors import HubError
from rgym_exp.hub.client import hub_status
from rgym_exp.observe.metrics import read_reports
from rgym_exp.swarm.identity import load_identity
from rgym_exp.training.checkpoint import CheckpointStore, SwarmRecord
from rgym_exp.types import RoundReport
from tests.support.preloaded import ProcessCopy, original

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 120.0
"""How long a test waits for what should take seconds: machines that test are often busy."""
LOOK_SECONDS = 0.1

_STEERING = ("IDENTITY_PATH", "RL_SWARM_HOME", "MODEL_NAME", "PRG_GAME", "CPU_ONLY", "CONNECT_TO_TESTNET")
"""Variables that would make a test's process another one than the test means."""

_READ_WHILE_LOADING = ("HF_", "HUGGINGFACE_", "OMP_")
"""What the variables begin with that libraries read when they are imported."""

_T = TypeVar("_T")


def wait_for(
    look: Callable[[], _T | None], *, what: str, programs: Sequence[Watched] = (), seconds: float = DEADLINE_SECONDS
) -> _T:
    """What ``look`` returns as soon as that is true. Fails with the programs' last words when it takes too long, or at
    once when one of them has ended."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        ended = [program for program in programs if program.status is not None]
        if ended or time.monotonic() > deadline:
            why = f"{ended[0].name} ended with {ended[0].status}" if ended else f"{seconds:.0f} s are over"
            last_words = "\n".join(program.last_words() for program in programs)
            raise AssertionError(f"{what}: not seen, and {why}.\n{last_words}")
        threading.Event().wait(LOOK_SECONDS)


class Watched(Protocol):
    """What ``wait_for`` looks at while it waits: a process or a container."""

    name: str

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""

    def last_words(self) -> str:
        """The end of what it said."""


class Program:
    """One ``rl-swarm`` process in a session of its own, as from a terminal of its own.

    A context manager, at whose end nothing of it is left.
    """

    def __init__(
        self,
        home: Path,
        command: str,
        arguments: list[str],
        *,
        environ: Mapping[str, str] | None = None,
        largest_file_bytes: int | None = None,
        launcher: Sequence[str] = (),
        preloaded: bool = True,
    ) -> None:
        """``largest_file_bytes``: no file may grow beyond this, as on a disk that is full. ``launcher``: Python's
        arguments to start it by, for several processes as one peer. Without one it is a copy of a process that has
        loaded the libraries, unless ``environ`` changes a variable that they read then, or ``preloaded`` is False, for
        a process whose memory is all its own."""
        home.mkdir(parents=True, exist_ok=True)
        self.name = f"{command} in {home.name}"
        self.home = Home(root=home, identity_path=None)
        self.terminal = home / "terminal.txt"
        self._began_at = self.terminal.stat().st_size if self.terminal.exists() else 0
        self._children: dict[int, psutil.Process] = {}
        words = [command, "--home", str(home), *arguments]
        self.process: subprocess.Popen[bytes] | ProcessCopy
        with self.terminal.open("ab") as output:
            # Elsewhere than on Linux, libraries may not work in a copy.
            if not preloaded or launcher or sys.platform != "linux" or _changes_loading(environ or {}):
                self.process = subprocess.Popen(
                    [sys.executable, *launcher, "-m", "rgym_exp.cli", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=home,
                    env=process_environ(environ or {}),
                    start_new_session=True,
                    preexec_fn=None if largest_file_bytes is None else partial(_limit_files, largest_file_bytes),
                )
            else:
                self.process = original().start(
                    words,
                    folder=home,
                    output=output.fileno(),
                    environ=process_environ(environ or {}),
                    largest_file_bytes=largest_file_bytes,
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self.process.poll()

    def output(self) -> str:
        """What it has written to its terminal."""
        with self.terminal.open("rb") as file:
            file.seek(self._began_at)
            return file.read().decode("utf-8", "replace")

    def log(self) -> str:
        """Its log file, earlier runs from the same home included."""
        files = [self.home.logs / name for name in ("swarm.log", "hub.log")]
        return "".join(file.read_text(encoding="utf-8", errors="replace") for file in files if file.exists())

    def last_words(self) -> str:
        """The end of its terminal and log, for a failure's message."""
        return f"--- {self.name}, terminal:\n{self.output()[-1500:]}\n--- {self.name}, log:\n{self.log()[-1500:]}"

    def children(self) -> list[psutil.Process]:
        """The processes that it has started and that still run, also when it is gone itself."""
        if self.process.poll() is None:
            try:
                found = psutil.Process(self.process.pid).children(recursive=True)
            except psutil.NoSuchProcess:
                found = []
            self._children |= {child.pid: child for child in found}
        return [child for child in self._children.values() if _is_alive(child)]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It stands still (SIGSTOP) for as long as the context lasts."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def thaw(self) -> None:
        """Let it go on after ``freeze_in``."""
        self.signal(signal.SIGCONT)

    def ctrl_c(self) -> None:
        """What the terminal does on Ctrl-C: SIGINT to the process and to all that it has started in its session."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to the process alone: it can do nothing about it, and its children are left to themselves."""
        self.children()
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Wait for its end; the exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds:.0f} s.\n{self.last_words()}") from None

    def end(self) -> None:
        """End it, if it still runs, and whatever it left running."""
        self.children()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)
        for child in self.children():
            child.kill()


class HubProgram(Program):
    """A hub on ports of its own; started again from the same home, it is the same hub."""

    def __init__(self, home: Path, *arguments: str, preloaded: bool = True) -> None:
        known = (home / ".rl-swarm" / "hub" / "hub.json").exists()
        ports = [] if known else ["--port", str(free_port()), "--p2p-port", str(free_port())]
        arguments = (*ports, "--rpc-port", str(free_port()), *arguments)
        super().__init__(home, "hub", list(arguments), preloaded=preloaded)

    def invite(self) -> Invite:
        """Its invite, as printed when it is up."""
        found = wait_for(
            lambda: re.search(r"--join (rlswarm1:\S+)", self.output()), what="the hub's invite", programs=(self,)
        )
        return read_invite(found[1])

    def hub_status(self) -> dict[str, Any]:
        """What it answers on ``/status``; empty when it doesn't answer."""
        try:
            return dict(hub_status(self.invite().hub_url or ""))
        except HubError:
            return {}

    @property
    def round(self) -> int:
        """The swarm's round; -1 when the hub doesn't answer."""
        return int(self.hub_status().get("round", -1))


class NodeProgram(Program):
    """A node. With a tiny model and the letter tasks, a round of it takes a fraction of a second."""

    def __init__(
        self,
        home: Path,
        model: Path | None,
        *settings: str,
        invite: Invite | None = None,
        environ: Mapping[str, str] | None = None,
        largest_file_bytes: int | None = None,
        launcher: Sequence[str] = (),
        preloaded: bool = True,
    ) -> None:
        """``model`` None: the network's model and tasks, and nothing made small but by ``settings``."""
        where = ["--join", invite.encode()] if invite is not None else ["--network", "offline"]
        arguments = [*where, *(small_settings(model) if model is not None else []), *settings]
        super().__init__(
            home,
            "run",
            arguments,
            environ=environ,
            largest_file_bytes=largest_file_bytes,
            launcher=launcher,
            preloaded=preloaded,
        )

    def reports(self) -> list[RoundReport]:
        """The rounds that it has finished, those of earlier runs from the same home included."""
        return read_reports(self.home.logs / "metrics.jsonl")

    @property
    def peer_id(self) -> str:
        """Its peer id, from its identity file; waits until there is one."""
        wait_for(self.home.identity.exists, what=f"the identity of {self.name}", programs=(self,))
        return load_identity(self.home.identity).peer_id

    @property
    def account(self) -> str:
        """The address of its account, from its key file."""
        return str(load_account(self.home.account_key).address)

    def checkpoint(self) -> SwarmRecord | None:
        """What its newest checkpoint says of itself."""
        newest = CheckpointStore(self.home.checkpoints, keep=1).latest()
        return newest.record if newest else None

    def freeze_in(self, *phases: str) -> int:
        """Stop it (SIGSTOP) while it is in one of these phases of a round; the round."""
        while True:
            wait_for(lambda: self.phase()[1] in phases, what=f"{self.name} in {' or '.join(phases)}", programs=(self,))
            self.signal(signal.SIGSTOP)
            wait_for(lambda: psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED, what="a stopped node")
            round_number, phase = self.phase()
            if phase in phases:
                return round_number
            self.signal(signal.SIGCONT)

    def phase(self) -> tuple[int, str]:
        """Round and name of the phase that it was in last, from its log (which must be at level DEBUG)."""
        found = re.findall(r"rl_swarm\.observe: round (\d+): (\w+)$", self.log(), re.MULTILINE)
        return (int(found[-1][0]), found[-1][1]) if found else (-1, "")

    def waiting_transactions(self) -> int:
        """Writes in its outbox that are neither confirmed nor refused."""
        return read_outbox(self.home.outbox)[0]

    def wait_for_rounds(self, count: int, *others: Program) -> list[RoundReport]:
        """Wait until it has finished so many rounds more than at this moment; those rounds."""
        before = len(self.reports())
        wait_for(
            lambda: len(self.reports()) >= before + count,
            what=f"{count} more rounds of {self.name}",
            programs=(self, *others),
        )
        return self.reports()[before:]


def small_settings(model: Path) -> list[str]:
    """Overrides that make a round small."""
    return [
        f"training.model_name='{model}'",
        "tasks._target_=tests.support.letter_tasks.LetterTasks",
        "training.num_generations=4",
        "training.local_groups=2",
        "training.external_groups=2",
        "training.device=cpu",
        "training.dtype=float32",
        "training.checkpoint_minutes=0.05",
        "communications.gather_timeout_seconds=10",
        "blockchain.poll_seconds=0.2",
        "eval.every_rounds=0",
        "observe.page=no",
        "observe.log_level=DEBUG",
    ]


def process_environ(more: Mapping[str, str]) -> dict[str, str]:
    """The variables of a test's process: those of this one without what steers a node, and ``more``."""
    ours = {name: value for name, value in os.environ.items() if name not in _STEERING}
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**ours, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}


def _changes_loading(more: Mapping[str, str]) -> bool:
    usual = process_environ({})
    return any(name.startswith(_READ_WHILE_LOADING) and usual.get(name) != value for name, value in more.items())


def _limit_files(largest_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, largest_bytes))


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

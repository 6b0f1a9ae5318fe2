"""trackio in a process of its own, fed through a pipe.

It decides where its data goes when it is imported (TRL does that, long before a run has a tracker), speaks to the
terminal, and asks the model hub who its user is, even where nothing is uploaded. A process of its own has its own
variables and its own terminal.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rgym_exp.base.child import end
from rgym_exp.observe.tracker import TrackerError

_START_SECONDS = 60.0
_END_SECONDS = 10.0


class TrackioProcess:
    """One trackio run. The process ends when its input does, so also when the node is killed."""

    def __init__(self, folder: Path, *, log: Path, environ: Mapping[str, str]) -> None:
        """Prepare it.

        Args:
            folder: where trackio keeps its databases.
            log: takes what trackio says.
            environ: trackio's own variables may send the curves elsewhere (TRACKIO_SPACE_ID, TRACKIO_SERVER_URL).
        """
        self._log = log
        self._environ = {**environ, "TRACKIO_DIR": str(folder)}
        if not (environ.get("TRACKIO_SPACE_ID") or environ.get("TRACKIO_SERVER_URL")):
            self._environ["HF_HUB_OFFLINE"] = "1"
        self._process: subprocess.Popen[str] | None = None

    def start(self, *, project: str, run_name: str, config: Mapping[str, Any]) -> None:
        """Start it, and wait until trackio has begun its run.

        Raises:
            TrackerError: it has not.
        """
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rgym_exp.observe.trackio_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environ,
                text=True,
                encoding="utf-8",
                # A Ctrl-C in the terminal is the node's: it still has a round to report.
                start_new_session=True,
            )
        said = ""
        with contextlib.suppress(BrokenPipeError):
            self._write({"project": project, "run_name": run_name, "config": config})
            assert self._process.stdout is not None
            # Not select(), which refuses files numbered beyond 1023: a node with many connections has some.
            with selectors.DefaultSelector() as selector:
                selector.register(self._process.stdout, selectors.EVENT_READ)
                if selector.select(_START_SECONDS):
                    said = self._process.stdout.readline().strip()
        if said != "ready":
            self.close()
            raise TrackerError(
                f"trackio can't start: {said or 'it gave no answer'}. {self._log} may say more. Repair it, or leave out"
                " observe.log_with=trackio."
            )

    def log(self, numbers: Mapping[str, float], *, step: int) -> None:
        """Hand over the numbers of a step.

        Raises:
            TrackerError: the process has ended.
        """
        try:
            self._write({"step": step, "numbers": numbers})
        except BrokenPipeError as error:
            raise TrackerError(f"trackio's process has ended; {self._log} may say why") from error

    def close(self) -> None:
        """Let it write what it has and end."""
        if self._process is None:
            return
        process, self._process = self._process, None
        end(process, seconds=_END_SECONDS)
        if process.stdout is not None:
            process.stdout.close()

    def _write(self, message: Mapping[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise BrokenPipeError
        self._process.stdin.write(json.dumps(message, default=str) + "\n")
        self._process.stdin.flush()

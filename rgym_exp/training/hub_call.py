"""One question to the Hub, asked in a process of its own (``hub_worker.py``), so that nobody waits for the answer."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rgym_exp.config.environment import SECRET_VARIABLES
from rgym_exp.training.hub_answer import HubAnswer, first_line, without

# Its requests' curl lines would be in its messages.
_NOT_HANDED_ON = frozenset((*SECRET_VARIABLES, "HF_DEBUG"))


class HubCall:
    """A process that asks the Hub, from its start to its answer.

    Outside of the terminal's process group: a Ctrl-C there is for the node, which decides what becomes of an upload.
    """

    def __init__(self, asked: Mapping[str, Any], *, token: str, environ: Mapping[str, str], limit_seconds: float):
        """Ask. The token travels through the pipe: a command line could be read by others.

        Raises:
            OSError: the process can't be started.
        """
        self._token = token
        self._limit = limit_seconds
        self._started = time.monotonic()
        kept = {name: value for name, value in environ.items() if name not in _NOT_HANDED_ON}
        kept |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            # -P: a file of the current folder must not stand in for a module.
            [sys.executable, "-P", "-m", "rgym_exp.training.hub_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env=kept,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({**asked, "token": token}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # It died at once; ``answer`` says so.

    @property
    def process_id(self) -> int:
        """Of the process that asks."""
        return self._process.pid

    def answer(self, *, wait_seconds: float = 0.0) -> HubAnswer | None:
        """The answer; None when there is none within the time. A call that is past its limit is ended and answered."""
        left = self._started + self._limit - time.monotonic()
        try:
            self._process.wait(max(0.0, min(wait_seconds, left)))
        except subprocess.TimeoutExpired:
            if time.monotonic() - self._started < self._limit:
                return None
            self.end()
            return HubAnswer(problem=f"no answer within {self._limit:.0f} s")
        return self._read()

    def end(self) -> None:
        """End it, whether it has answered or not."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _read(self) -> HubAnswer:
        assert self._process.stdout is not None
        found = HubAnswer.from_json(_last_line(self._process.stdout.read()))
        if found is None:
            self._messages.seek(0)
            said = _last_line(self._messages.read().decode(errors="replace"))
            problem = f"the uploading process ended with exit status {self._process.returncode} {said}"
            found = HubAnswer(problem=first_line(without(self._token, problem)))
        self._close()
        return found

    def _close(self) -> None:
        self._messages.close()
        for pipe in (self._process.stdin, self._process.stdout):
            # What one that died at once has not read is still to be sent, and closing tries to once more.
            with suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()


def _last_line(said: str) -> str:
    """What was said last: libraries may have printed before."""
    return (said.strip().splitlines() or [""])[-1]

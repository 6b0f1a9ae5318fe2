"""The scoring worker as the node sees it: a child process that is started, sent a line, read from and killed."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SCRIPT = Path(__file__).with_name("scoring_worker.py")
_READ_BYTES = 65_536
_KEPT_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Some Pythons find numpy's libraries only with these. Everything else stays outside."""


class WorkerLost(Exception):
    """The worker is gone or doesn't answer; ``hung`` says which."""

    def __init__(self, why: str, *, hung: bool) -> None:
        super().__init__(why)
        self.hung = hung


class WorkerProcess:
    """One running worker. Not thread-safe; its owner locks."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        """Start the process and hand it its set-up; returns before it is ready."""
        # A session of its own: Ctrl-C in the terminal is for the node, which then closes its worker in order.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout
        self._to_worker = self._process.stdin.fileno()
        self._from_worker = self._process.stdout.fileno()
        os.set_blocking(self._to_worker, False)
        os.set_blocking(self._from_worker, False)
        self._received = b""
        self._unsent = _line(setup)
        self._not_ready: dict[str, Any] | None = {}

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait_until_ready(self, timeout_seconds: float) -> list[str]:
        """Wait for the end of the set-up, once; returns the limits that this system doesn't have.

        Raises:
            WorkerLost: it failed, died or took too long.
        """
        if self._not_ready is None:
            return []
        reply = self.receive(timeout_seconds)
        if "failed" in reply:
            raise WorkerLost(str(reply["failed"]), hung=False)
        self._not_ready = None
        return [str(name) for name in reply["not_limited"]]

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue one message; it is written while replies are awaited, so that neither side can block the other."""
        self._unsent += _line(message)

    def receive(self, timeout_seconds: float) -> Any:
        """The next reply.

        Raises:
            WorkerLost: none came in time, or the process ended.
        """
        deadline = time.monotonic() + timeout_seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._from_worker, selectors.EVENT_READ)
            if self._unsent:
                selector.register(self._to_worker, selectors.EVENT_WRITE)
            while b"\n" not in self._received:
                events = selector.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    raise WorkerLost(f"no reply within {timeout_seconds:.1f} s", hung=True)
                for key, _ in events:
                    if key.fd == self._from_worker:
                        self._read()
                    elif not self._write():
                        selector.unregister(self._to_worker)
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)

    def kill(self) -> None:
        """End the process and give its pipes back; harmless when it has ended."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _read(self) -> None:
        received = os.read(self._from_worker, _READ_BYTES)
        if not received:
            raise WorkerLost(f"the process ended with exit code {self._process.wait()}", hung=False)
        self._received += received

    def _write(self) -> bool:
        """Write what the pipe takes; returns whether anything is left."""
        try:
            written = os.write(self._to_worker, self._unsent[:_READ_BYTES])
        except BlockingIOError:
            return True
        except BrokenPipeError:
            raise WorkerLost(f"the process ended with exit code {self._process.wait()}", hung=False) from None
        self._unsent = self._unsent[written:]
        return bool(self._unsent)


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, default=str).encode() + b"\n"

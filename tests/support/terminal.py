"""A program with a person at its terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path


class Terminal:
    """The program, and what a person at its terminal sees and does."""

    def __init__(self, command: list[str], cwd: Path, environ: dict[str, str]) -> None:
        self.screen = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environ,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_as_from_a_terminal,
        )
        os.close(slave)

    def wait_for(self, text: str, *, seconds: float = 20) -> None:
        """Read until the text is on the screen."""
        deadline = time.monotonic() + seconds
        while text not in self.screen:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} never appeared on the screen:\n{self.screen}")

    def wait_until(self, look: Callable[[], bool], *, what: str, seconds: float) -> None:
        """Read, so that the program can go on writing, until ``look`` is true."""
        deadline = time.monotonic() + seconds
        while not look():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError(f"{what}: not seen. On the screen:\n{self.screen[-3000:]}")
            self._read(time.monotonic() + 0.2)

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        os.write(self._master, f"{line}\n".encode())

    def press_ctrl_c(self) -> None:
        os.write(self._master, b"\x03")

    def status(self, *, seconds: float = 20) -> int:
        """Wait for the program to end; returns its exit status."""
        return self._process.wait(timeout=seconds)

    def end(self, *, seconds: float = 20) -> str:
        """Wait for the program to end well; returns what was on the screen, in lines."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        assert self._process.wait(timeout=max(deadline - time.monotonic(), 1)) == 0, self.screen
        return self.screen.replace("\r\n", "\n")

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    def _read(self, deadline: float) -> bool:
        """Add what has come to the screen; False when the program has closed it or the time is over."""
        ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        try:
            read = os.read(self._master, 4096)
        except OSError:  # Linux's way of saying that nobody holds the other end any more
            return False
        self.screen += read.decode(errors="replace")
        return bool(read)


def _as_from_a_terminal() -> None:
    # The terminal becomes the session's own, so that Ctrl-C is a signal to whatever is in the foreground.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # Tests that run in the background of a shell ignore it, and so would all that they start.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

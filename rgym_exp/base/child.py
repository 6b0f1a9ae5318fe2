"""Programs that end when we do, with their words in a log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rgym_exp.base.files import last_lines

LARGEST_LOG_BYTES = 5 * 1024 * 1024

_STARTER = Path(__file__).with_name("die_with_parent.py")


def tied(command: Sequence[str]) -> list[str]:
    """The command, such that it ends (by SIGTERM, on Linux) when the *thread* that starts it does, or its process."""
    return [sys.executable, "-I", "-S", str(_STARTER), str(os.getpid()), *command]


def start_logged(
    command: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    log_file: Path,
    held: int,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program that is ``tied`` to us.

    Args:
        log_file: its output is appended; one that has grown too large is put aside first (one older one is kept).
        held: a descriptor of a lock, which the program keeps: the lock is free when both of us are gone.

    Raises OSError.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    if log_file.exists() and log_file.stat().st_size > LARGEST_LOG_BYTES:
        log_file.replace(log_file.with_name(f"{log_file.name}.1"))
    with log_file.open("ab") as output:
        return subprocess.Popen(
            tied(command),
            cwd=cwd,
            env=environ,
            stdin=stdin,
            stdout=output,
            stderr=output,
            # A Ctrl-C at the terminal is for us; we then end it in our own order. A group and no session of its own:
            # Linux shares the processor among sessions first, and a nice value would count for nothing.
            process_group=0,
            pass_fds=(held,),
        )


def end(process: subprocess.Popen[bytes] | subprocess.Popen[str], *, seconds: float, gently: bool = True) -> bool:
    """Close its standard input, which for some is the sign to end; then SIGTERM, then SIGKILL.

    Args:
        seconds: waited after each step before the next.
        gently: whether the end of its input is given this time, too; else SIGTERM comes at once.

    Returns whether it ended without being killed.
    """
    if process.stdin is not None and not process.stdin.closed:
        with suppress(BrokenPipeError):
            process.stdin.close()
    steps = [process.terminate, process.kill]
    if not gently:
        steps.pop(0)()
    for insist in steps:
        try:
            process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            insist()
    process.wait()
    return False


def last_words(log_file: Path, lines: int = 1) -> str:
    """The last lines that aren't empty, in one; for sentences."""
    return " / ".join(last_lines(log_file)[-lines:]) or "it said nothing"

"""Programs that end when we do, with their words in a log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rgym_exp.config.environment import SECRET_VARIABLES
from rgym_exp.config.files import last_lines

LARGEST_LOG_BYTES = 5 * 1024 * 1024

_STARTER = Path(__file__).parents[1] / "chain" / "die_with_parent.py"


def start(
    command: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    log_file: Path,
    held: int,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program that ends (by SIGTERM, on Linux) when the *thread* that calls this does, or its process.

    Args:
        environ: its variables; secrets of ours are taken out.
        log_file: its output is appended.
        held: a descriptor of a lock, which the program keeps: the lock is free when both of us are gone.

    Raises OSError.
    """
    make_room(log_file)
    known = {name: value for name, value in environ.items() if name not in SECRET_VARIABLES}
    with log_file.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_STARTER), str(os.getpid()), *command],
            cwd=cwd,
            env=known,
            stdin=stdin,
            stdout=output,
            stderr=output,
            # A Ctrl-C at the terminal is for us; we then end it in our own order. A group and no session of its own:
            # Linux shares the processor among sessions first, and a nice value would count for nothing.
            process_group=0,
            pass_fds=(held,),
        )


def make_room(log_file: Path) -> None:
    """The log's folder is there, and a log that has grown too large is put aside (one older one is kept)."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    if log_file.exists() and log_file.stat().st_size > LARGEST_LOG_BYTES:
        log_file.replace(log_file.with_name(f"{log_file.name}.1"))


def last_words(log_file: Path, lines: int = 1) -> str:
    """The last lines that aren't empty, in one; for sentences."""
    return " / ".join(last_lines(log_file)[-lines:]) or "it said nothing"

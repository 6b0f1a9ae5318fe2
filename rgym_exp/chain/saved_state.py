"""The devnet's state file, kept small and kept whole.

anvil saves every block header it ever made (2 KB each) and writes the whole file again every few seconds; left alone,
a busy swarm's file grows by tens of megabytes a day. It also writes in place, so that a machine that dies in that
moment leaves half a file. So: old blocks are cut off whenever anvil isn't running, and a copy of the last whole file is
kept beside it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rgym_exp.base.files import atomic_write
from rgym_exp.chain.coordinator import ChainError

logger = logging.getLogger("rl_swarm.chain")

BLOCKS_KEPT = 64
"""Receipts older than that are only asked for by a node that was away, which then asks the contract instead."""


_TAIL_BYTES = 64


class StateLost(ChainError):
    """Neither the state file nor its copy can be read."""


class WritingWatch:
    """Whether the state file is still written, and whole: on a full disk anvil goes on, and leaves half a file."""

    def __init__(self, path: Path, *, longest_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._longest_seconds = longest_seconds
        self._clock = clock
        self._version = self._look_at_file()
        self._written = clock()

    def look(self) -> str | None:
        """Called every few seconds while the chain runs; a sentence when it hasn't been written for too long."""
        version = self._look_at_file()
        if version is not None and version != self._version and _ends_whole(self._path):
            self._version = version
            self._written = self._clock()
        silent = self._clock() - self._written
        if silent <= self._longest_seconds:
            return None
        return (
            f"The local chain's state {self._path} has not been written for {silent:.0f} s: what has happened since is "
            "lost if the chain ends now. Look whether the disk is full."
        )

    def begin_anew(self) -> None:
        """The chain was not running: no file could be written."""
        self._written = self._clock()

    def _look_at_file(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size


def _ends_whole(path: Path) -> bool:
    """Whether the file ends as JSON does. One that was cut off ends so by chance now and then, not for half a minute.

    To parse it, of tens of megabytes in a large swarm, would stop the hub for a second each time.
    """
    try:
        with path.open("rb") as file:
            file.seek(-min(_TAIL_BYTES, path.stat().st_size), os.SEEK_END)
            return file.read().rstrip().endswith(b"}")
    except (OSError, ValueError):
        return False


def prepare(path: Path) -> None:
    """Before anvil starts: put back the copy if the file is damaged, and cut off old blocks. Raises StateLost."""
    if not path.exists() and not copy_of(path).exists():
        return
    state = _read(path)
    if state is None:
        state = _read(copy_of(path))
        if state is None:
            raise StateLost(
                f"The local chain's state {path} is damaged, and so is its copy. Move both away to begin a new chain "
                "(joiners then need a new invite)."
            )
        logger.warning("%s was damaged; going back to its copy of a minute or so before.", path)
    atomic_write(path, json.dumps(shortened(state)).encode())
    back_up(path)


def back_up(path: Path) -> bool:
    """Copy the file beside itself if it is whole; whether it was."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    if _parse(data) is None:
        return False
    atomic_write(copy_of(path), data)
    return True


def copy_of(path: Path) -> Path:
    """Where the copy is kept."""
    return path.with_name(f"{path.stem}.copy{path.suffix}")


def shortened(state: dict[str, Any]) -> dict[str, Any]:
    """The state without the blocks before the last few, and without those blocks' transactions."""
    blocks = sorted(state["blocks"], key=_number)[-BLOCKS_KEPT:]
    first = _number(blocks[0]) if blocks else 0
    transactions = [each for each in state["transactions"] if int(each.get("block_number", first)) >= first]
    return {**state, "blocks": blocks, "transactions": transactions}


def _number(block: dict[str, Any]) -> int:
    number = block["header"]["number"]
    return int(number, 16) if isinstance(number, str) else int(number)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return _parse(path.read_bytes())
    except OSError:
        return None


def _parse(data: bytes) -> dict[str, Any] | None:
    try:
        state = json.loads(data)
        shortened(state)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return state if isinstance(state, dict) else None

"""The devnet's state file, kept small and kept whole.

anvil saves every block header it ever made (2 KB each) and writes the whole file again every few seconds; left alone,
a busy swarm's file grows by tens of megabytes a day. It also writes in place, so that a machine that dies in that
moment leaves half a file. So: old blocks are cut off whenever anvil isn't running, and a copy of the last whole file is
kept beside it.

A swarm of a thousand has some hundred megabytes in it. To parse those would stop the hub for seconds, and its chain is
away meanwhile; so the file is cut as text, where it looks as anvil writes it, and parsed only where it doesn't.
"""

from __future__ import annotations

import json
import logging
import os
import re
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
_BLOCKS, _TRANSACTIONS, _AFTER = b'"blocks":[', b'],"transactions":[', b'],"historical_states"'
_NEXT_BLOCK, _NEXT_TRANSACTION = b',{"header":{', b',{"info":{'
_NUMBER_OF_BLOCK = re.compile(rb'"number":"0x([0-9a-f]+)"')
_BLOCK_OF_TRANSACTION = re.compile(rb'"block_number":([0-9]+)\}$')


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
    """Whether the file ends as JSON does. One that was cut off does so by chance, not for half a minute."""
    try:
        with path.open("rb") as file:
            file.seek(-min(_TAIL_BYTES, path.stat().st_size), os.SEEK_END)
            return file.read().rstrip().endswith(b"}")
    except (OSError, ValueError):
        return False


def prepare(path: Path) -> None:
    """Before anvil starts: put back the copy if the file is damaged, and cut off old blocks. Raises StateLost.

    The copy is what the file was before it was cut.
    """
    if not path.exists() and not copy_of(path).exists():
        return
    cut = _cut(path)
    if cut is not None:
        path.replace(copy_of(path))
    else:
        cut = _cut(copy_of(path))
        if cut is None:
            raise StateLost(
                f"The local chain's state {path} is damaged, and so is its copy. Move both away to begin a new chain "
                "(joiners then need a new invite)."
            )
        logger.warning("%s was damaged; going back to its copy of a minute or so before.", path)
    atomic_write(path, cut)


def back_up(path: Path) -> bool:
    """Copy the file beside itself if it is whole; whether it was."""
    data = _whole(path)
    if data is None:
        return False
    atomic_write(copy_of(path), data)
    return True


def copy_of(path: Path) -> Path:
    """Where the copy is kept."""
    return path.with_name(f"{path.stem}.copy{path.suffix}")


def shortened(data: bytes) -> bytes:
    """The state without the blocks before the last few, and without those blocks' transactions.

    Raises ValueError when this is no state.
    """
    try:
        return _shortened_text(data)
    except ValueError:
        # An anvil of another version wrote it, or a hub that wrote spaces into it.
        return _shortened_json(data)


def _shortened_text(data: bytes) -> bytes:
    """``shortened`` where the text is just as anvil writes it; raises ValueError elsewhere."""
    before, has_blocks, rest = data.partition(_BLOCKS)
    # A block has transactions as well, but no list ends right before them.
    listed, has_transactions, rest = rest.partition(_TRANSACTIONS)
    made, has_more, after = rest.rpartition(_AFTER)
    if not (has_blocks and has_transactions and has_more):
        raise ValueError("it lacks a list, or has them in another order")
    numbered = sorted((_found(_NUMBER_OF_BLOCK, each, 16), each) for each in _split(listed, _NEXT_BLOCK))
    kept = numbered[-BLOCKS_KEPT:]
    transactions = [
        each
        for each in (_split(made, _NEXT_TRANSACTION) if made else [])
        if _found(_BLOCK_OF_TRANSACTION, each, 10) >= kept[0][0]
    ]
    blocks = b",".join(block for _, block in kept)
    return b"".join([before, _BLOCKS, blocks, _TRANSACTIONS, b",".join(transactions), _AFTER, after])


def _split(listed: bytes, begin: bytes) -> list[bytes]:
    """The objects of a list; each but the first begins with ``begin``. Raises ValueError when they aren't whole."""
    first, *others = listed.split(begin)
    objects = [first, *(begin[1:] + each for each in others)]
    if not first.startswith(begin[1:]) or not all(_is_balanced(each) for each in objects):
        raise ValueError("a list in it is written in another way")
    return objects


def _found(pattern: re.Pattern[bytes], text: bytes, base: int) -> int:
    found = pattern.search(text)
    if found is None:
        raise ValueError("a number is missing in it")
    return int(found.group(1), base)


def _shortened_json(data: bytes) -> bytes:
    try:
        state = json.loads(data)
        blocks = sorted(state["blocks"], key=_number)[-BLOCKS_KEPT:]
        first = _number(blocks[0]) if blocks else 0
        transactions = [each for each in state["transactions"] if int(each.get("block_number", first)) >= first]
        return json.dumps({**state, "blocks": blocks, "transactions": transactions}, separators=(",", ":")).encode()
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("it is no state of a chain") from error


def _number(block: dict[str, Any]) -> int:
    number = block["header"]["number"]
    return int(number, 16) if isinstance(number, str) else int(number)


def _cut(path: Path) -> bytes | None:
    """The shortened state in this file; None when it can't be had."""
    data = _whole(path)
    try:
        return None if data is None else shortened(data)
    except ValueError:
        return None


def _whole(path: Path) -> bytes | None:
    """The file, if all of it is there: one that was cut off lacks brackets, or has zeros where nothing was written."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    is_whole = data.startswith(b"{") and data.rstrip().endswith(b"}") and _is_balanced(data) and b"\0" not in data
    return data if is_whole else None


def _is_balanced(text: bytes) -> bool:
    """No text in a state has a bracket in it."""
    return text.count(b"{") == text.count(b"}") and text.count(b"[") == text.count(b"]")

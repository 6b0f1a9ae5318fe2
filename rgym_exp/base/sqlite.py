"""Opening an SQLite file that several threads and processes may use."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rgym_exp.base.files import set_aside


def connect(path: Path, *, durable: bool) -> sqlite3.Connection:
    """A connection in autocommit mode, with rows that can be read by name; missing folders are made.

    Args:
        durable: whether a power cut may cost nothing that was committed; else it may cost the last few transactions.

    Raises OSError or sqlite3.Error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_or_begin_anew(
    path: Path, prepare: Callable[[sqlite3.Connection], None], *, then: str, log: logging.Logger
) -> sqlite3.Connection:
    """``connect`` to a file that is not worth a failed start: a damaged one is set aside with a warning.

    Args:
        prepare: makes the tables that aren't there; raises sqlite3.DatabaseError for a file that isn't ours.
        then: a sentence about what it means to begin anew.

    Raises OSError: its place can't be used, or it is locked for long.
    """
    try:
        return _checked(path, prepare)
    except sqlite3.OperationalError as error:
        # The file's place, or its lock: nothing is wrong with what is in it.
        raise OSError(f"{path} can't be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        if set_aside(path, error, then, log=log) is None:
            raise OSError(f"{path} can't be opened: {error}") from error
    return _checked(path, prepare)


@contextmanager
def changing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A transaction: all of it or nothing of it. Raises sqlite3.Error."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield connection


def _checked(path: Path, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    connection = connect(path, durable=False)
    try:
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("its pages are not in order")
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection

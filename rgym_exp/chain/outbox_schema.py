"""The outbox's table, and how a file of an earlier version becomes one of this: in one transaction, or not at all.

``PRAGMA user_version`` tells the versions apart:

    0  a new file, or the first version: rows of one contract, the SwarmCoordinator
    1  a row names the contract that it is for, and is one of its kind for that contract
    2  no row says when it is due, which is a running program's own affair; the newest block that was seen
"""

from __future__ import annotations

import sqlite3

from rgym_exp.chain.coordinator import ChainError

VERSION = 2

_TABLE = """
CREATE TABLE writes (
    id INTEGER PRIMARY KEY,
    target TEXT NOT NULL,
    account TEXT NOT NULL,
    kind TEXT NOT NULL,
    round INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    peer_id TEXT NOT NULL,
    contract TEXT NOT NULL DEFAULT '',
    payload TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'waiting',
    tries INTEGER NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT '',
    hash TEXT,
    nonce INTEGER,
    raw BLOB,
    changed REAL NOT NULL,
    UNIQUE (target, account, kind, round, stage, peer_id, contract)
)
"""
_INDEX = "CREATE INDEX writes_by_status ON writes (status)"
_SEEN = """
CREATE TABLE seen (
    target TEXT PRIMARY KEY, number INTEGER NOT NULL, hash TEXT NOT NULL, is_behind INTEGER NOT NULL
)
"""
_KEPT = "id, target, account, kind, round, stage, peer_id, payload, status, tries, detail, hash, nonce, raw, changed"

_NEW = (_TABLE, _INDEX, _SEEN)


def _moved(kept: str) -> tuple[str, ...]:
    """SQLite can't change a table's UNIQUE, and in earlier versions drop no column, so the rows move to a new table.
    The old one takes its index along."""
    return (
        "ALTER TABLE writes RENAME TO writes_before",
        _TABLE,
        f"INSERT INTO writes ({kept}) SELECT {kept} FROM writes_before",
        "DROP TABLE writes_before",
        _INDEX,
        _SEEN,
    )


_STATEMENTS = {0: _moved(_KEPT), 1: _moved(f"{_KEPT}, contract")}
"""By the version that the file has."""


def prepare(connection: sqlite3.Connection) -> None:
    """Give the file this version's table. Safe against a crash at any point and against others who do the same.

    ``connection`` must be in autocommit mode. Raises sqlite3.Error; ChainError for a file of a later version.
    """
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _version(connection)  # Another process may have been faster.
        if found > VERSION:
            raise ChainError(
                f"The outbox was written by a later version of this program (its format is {found}, and {VERSION} is "
                "the newest known here). Update this installation, or move the file away: writes in it that aren't on "
                "chain yet are lost with it."
            )
        if found < VERSION:
            for statement in _STATEMENTS[found] if _has_table(connection) else _NEW:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _has_table(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'writes'")
    return found.fetchone() is not None

"""The ledger's tables: sums per peer, a journal of what was added to them of late, and the blocks that were read."""

from __future__ import annotations

import sqlite3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS peers (
    peer_id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    rounds INTEGER NOT NULL,
    reward INTEGER NOT NULL,
    wins INTEGER NOT NULL,
    first_round INTEGER NOT NULL,
    last_round INTEGER NOT NULL,
    settled INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS peers_by_rank ON peers (reward DESC, wins DESC, peer_id);
CREATE INDEX IF NOT EXISTS peers_unsettled ON peers (peer_id) WHERE NOT settled;
CREATE TABLE IF NOT EXISTS journal (
    block INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    peer_id TEXT NOT NULL,
    rounds INTEGER NOT NULL,
    reward INTEGER NOT NULL,
    wins INTEGER NOT NULL,
    PRIMARY KEY (block, log_index, peer_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, hash TEXT NOT NULL);
"""


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables that aren't there. Raises sqlite3.DatabaseError."""
    connection.executescript(_SCHEMA)

"""Opening an SQLite file."""

import logging
import sqlite3
import threading
from pathlib import Path

import pytest

from rgym_exp.base.sqlite import changing, connect, connect_or_begin_anew

LOG = logging.getLogger("rl_swarm.test")


def prepare(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT)")


def open_notes(path: Path) -> sqlite3.Connection:
    return connect_or_begin_anew(path, prepare, then="New notes begin.", log=LOG)


def test_what_must_outlast_a_power_cut_is_synced_at_every_commit_and_the_rest_is_not(tmp_path: Path) -> None:
    levels = [
        connect(tmp_path / name, durable=durable).execute("PRAGMA synchronous").fetchone()[0]
        for name, durable in (("a", True), ("b", False))
    ]
    assert levels == [2, 1]  # FULL and NORMAL


def test_a_change_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    notes = open_notes(tmp_path / "new" / "notes")
    with changing(notes) as connection:
        connection.execute("INSERT INTO notes VALUES ('kept')")
    with pytest.raises(sqlite3.OperationalError), changing(notes) as connection:
        connection.execute("INSERT INTO notes VALUES ('lost')")
        connection.execute("INSERT INTO nowhere VALUES (1)")
    assert [row["text"] for row in notes.execute("SELECT text FROM notes")] == ["kept"]


def test_a_file_whose_tables_are_somebody_elses_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def refuse_the_first(connection: sqlite3.Connection) -> None:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise sqlite3.DatabaseError("its tables are not ours")
        prepare(connection)

    path = tmp_path / "notes"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE other (x)")
    other.close()
    notes = connect_or_begin_anew(path, refuse_the_first, then="New notes begin.", log=LOG)
    assert notes.execute("SELECT count(*) FROM notes").fetchone()[0] == 0
    assert len(list(tmp_path.glob("notes.damaged-*"))) >= 1
    assert "its tables are not ours" in caplog.text and "New notes begin." in caplog.text


def test_threads_share_a_connection(tmp_path: Path) -> None:
    notes = open_notes(tmp_path / "notes")
    thread = threading.Thread(target=notes.execute, args=("INSERT INTO notes VALUES ('from a thread')",))
    thread.start()
    thread.join(10)
    assert notes.execute("SELECT count(*) FROM notes").fetchone()[0] == 1

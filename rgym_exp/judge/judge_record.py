"""What a judge has scored: SQLite, sums for ever and single answers for a while."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rgym_exp.base.outage import Outage
from rgym_exp.base.sqlite import changing, connect_or_begin_anew

log = logging.getLogger("rl_swarm.judge")

ANSWERS_KEPT = 100_000
"""Single answers; about 20 MB."""
SUMS_KEPT = 1_000_000
"""Rows of (peer, model, round). Who may name any peer can make any number of them; the oldest go first."""
PEERS_KEPT = 100_000
"""Peers with sums of their own; those not judged for longest go first."""
_PRUNE_EVERY = 1000
"""Rows written between two looks at what is too much."""

_Values = Mapping[str, str | int | float]

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS answers (
        number INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, session TEXT NOT NULL, peer TEXT NOT NULL,
        model TEXT NOT NULL, round INTEGER NOT NULL, dataset TEXT NOT NULL, score REAL NOT NULL
    );
    CREATE TABLE IF NOT EXISTS sums (
        peer TEXT NOT NULL, model TEXT NOT NULL, round INTEGER NOT NULL, asked INTEGER NOT NULL,
        answers INTEGER NOT NULL, score REAL NOT NULL, PRIMARY KEY (peer, model, round)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS sums_by_round ON sums (round);
    CREATE TABLE IF NOT EXISTS peers (
        peer TEXT PRIMARY KEY, model TEXT NOT NULL, asked INTEGER NOT NULL, answers INTEGER NOT NULL,
        score REAL NOT NULL, last_round INTEGER NOT NULL, time REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS peers_by_time ON peers (time);
"""
_COLUMNS = {
    "answers": ("number", "time", "session", "peer", "model", "round", "dataset", "score"),
    "sums": ("peer", "model", "round", "asked", "answers", "score"),
    "peers": ("peer", "model", "asked", "answers", "score", "last_round", "time"),
}
_ADD_SUM = """
    INSERT INTO sums VALUES (:peer, :model, :round, :asked, :answers, :score)
    ON CONFLICT DO UPDATE SET asked = asked + :asked, answers = answers + :answers, score = score + :score
"""
_ADD_PEER = """
    INSERT INTO peers VALUES (:peer, :model, :asked, :answers, :score, :round, :time)
    ON CONFLICT DO UPDATE SET model = :model, asked = asked + :asked, answers = answers + :answers,
        score = score + :score, last_round = max(last_round, :round), time = :time
"""
_ADD_ANSWER = """
    INSERT INTO answers (time, session, peer, model, round, dataset, score)
    VALUES (:time, :session, :peer, :model, :round, :dataset, :score)
"""


@dataclass(frozen=True, kw_only=True)
class HandedOut:
    """Questions that a peer got at once."""

    time: float
    """Seconds since the epoch."""
    peer_id: str
    model_name: str
    round: int
    questions: int


@dataclass(frozen=True, kw_only=True)
class JudgedAnswer:
    """One answer and its score."""

    time: float
    """Seconds since the epoch."""
    session_id: str
    peer_id: str
    model_name: str
    round: int
    dataset: str
    score: float
    """In [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How a peer's first answers to questions did: pass@1 is ``right / answers``."""

    model_name: str
    """Of the newest answer."""
    answers: int
    right: float
    """Sum of the scores; a whole number where the tasks give no partial credit."""
    last_round: int
    asked: int
    """Questions handed out. Far more than ``answers`` where somebody answers only what they are sure of."""


@dataclass(frozen=True, kw_only=True)
class RoundTally:
    """The same for one model in one round."""

    model_name: str
    round: int
    answers: int
    right: float
    asked: int


class JudgeRecord:
    """Thread-safe. A peer id here is what whoever asked has claimed."""

    def __init__(self, path: Path) -> None:
        """Open the record, or make a new one; a damaged file is moved aside with a warning.

        Raises:
            OSError: the file can't be opened or written.
        """
        self._lock = threading.Lock()
        self._path = path
        self._since_pruned = 0
        self._recording = Outage(log, failing=f"What the judge scores can't be recorded in {path} just now: %s")
        self._connection = connect_or_begin_anew(path, _prepare, then="A new record begins.", log=log)

    def asked(self, handed_out: Iterable[HandedOut]) -> None:
        """Questions were handed out."""
        rows: list[_Values] = [
            {
                "peer": each.peer_id,
                "model": each.model_name,
                "round": each.round,
                "time": each.time,
                "asked": each.questions,
                "answers": 0,
                "score": 0.0,
            }
            for each in handed_out
        ]
        self._write(rows, _ADD_SUM, _ADD_PEER)

    def add(self, answers: Iterable[JudgedAnswer]) -> None:
        """Answers were scored. A full disk costs a warning and their place in the record."""
        rows: list[_Values] = [
            {
                "peer": answer.peer_id,
                "model": answer.model_name,
                "round": answer.round,
                "time": answer.time,
                "session": answer.session_id,
                "dataset": answer.dataset,
                "score": answer.score,
                "asked": 0,
                "answers": 1,
            }
            for answer in answers
        ]
        self._write(rows, _ADD_ANSWER, _ADD_SUM, _ADD_PEER)

    def tallies(self) -> Mapping[str, Tally]:
        """Every peer with an answer, by peer id."""
        return {
            row["peer"]: Tally(
                model_name=row["model"],
                answers=row["answers"],
                right=row["score"],
                last_round=row["last_round"],
                asked=row["asked"],
            )
            for row in self._read("SELECT * FROM peers WHERE answers > 0")
        }

    def rounds_of(self, peer_id: str) -> list[RoundTally]:
        """A peer's answers by model and round, latest round first."""
        rows = self._read(
            "SELECT * FROM sums WHERE peer = ? AND answers > 0 ORDER BY round DESC, model LIMIT 10000", peer_id
        )
        return [
            RoundTally(
                model_name=row["model"],
                round=row["round"],
                answers=row["answers"],
                right=row["score"],
                asked=row["asked"],
            )
            for row in rows
        ]

    def answer_count(self) -> int:
        """Answers ever scored."""
        newest = self._read("SELECT seq FROM sqlite_sequence WHERE name = 'answers'")
        return int(newest[0]["seq"]) if newest else 0

    def close(self) -> None:
        """Nothing can be recorded or asked afterwards."""
        with self._lock:
            self._connection.close()

    def prune(self, *, answers: int = ANSWERS_KEPT, sums: int = SUMS_KEPT, peers: int = PEERS_KEPT) -> None:
        """Drop what is oldest beyond these numbers of rows. Happens by itself every so often."""
        with self._lock, changing(self._connection):
            self._keep(answers, sums, peers)

    def _write(self, rows: Sequence[_Values], *statements: str) -> None:
        """All of it in one transaction: a thousand peers may begin a round together."""
        with self._lock:
            try:
                with changing(self._connection) as connection:
                    for statement in statements:
                        connection.executemany(statement, rows)
                    self._prune(len(rows))
                self._recording.works()
            except sqlite3.Error as error:
                self._recording.fails(error)

    def _prune(self, added: int) -> None:
        self._since_pruned += added
        if self._since_pruned < _PRUNE_EVERY:
            return
        self._since_pruned = 0
        self._keep(ANSWERS_KEPT, SUMS_KEPT, PEERS_KEPT)

    def _keep(self, answers: int, sums: int, peers: int) -> None:
        execute = self._connection.execute
        execute("DELETE FROM answers WHERE number <= (SELECT max(number) FROM answers) - ?", (answers,))
        for table, key, age, kept in (("sums", "peer, model, round", "round", sums), ("peers", "peer", "time", peers)):
            excess = execute(f"SELECT count(*) FROM {table}").fetchone()[0] - kept
            if excess > 0:
                execute(
                    f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} ORDER BY {age} LIMIT ?)",
                    (excess,),
                )

    def _read(self, query: str, *values: str) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables; raises sqlite3.DatabaseError unless those that are there are ours."""
    for table, columns in _COLUMNS.items():
        found = tuple(row["name"] for row in connection.execute(f"PRAGMA table_info({table})"))
        if found not in ((), columns):
            raise sqlite3.DatabaseError(f"its table {table} is not as this program makes it")
    connection.executescript(_SCHEMA)

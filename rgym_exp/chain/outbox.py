"""The outbox: every write that isn't settled yet, and the last that are, in one SQLite file that survives restarts.

A row is one (target, account, kind, round, stage, peer): adding it twice changes nothing. Statuses:

    waiting  -> sent       it was signed (and perhaps received by the chain: only the chain knows)
    sent     -> confirmed  the chain has it
    sent     -> waiting    the chain will never have it in this form
    waiting, sent -> refused   the contract won't take it; ``detail`` says why

Rows carry the chain and contract that they are meant for (``target``) and the account that owes them, so that a home
that changes its network or its account never sends yesterday's rewards to the wrong place.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from eth_utils.address import to_checksum_address

from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.writes import Kind, Status, Transaction

FINISHED_ROWS_KEPT = 1000
"""Of the confirmed and refused; a year of rounds would otherwise fill the disk and slow every look."""

_NONE = -1
"""Stands for "no round" and "no stage": NULLs are never equal to each other in a UNIQUE constraint."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS writes (
    id INTEGER PRIMARY KEY,
    target TEXT NOT NULL,
    account TEXT NOT NULL,
    kind TEXT NOT NULL,
    round INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    peer_id TEXT NOT NULL,
    payload TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'waiting',
    tries INTEGER NOT NULL DEFAULT 0,
    next_try REAL NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT '',
    hash TEXT,
    nonce INTEGER,
    raw BLOB,
    changed REAL NOT NULL,
    UNIQUE (target, account, kind, round, stage, peer_id)
);
CREATE INDEX IF NOT EXISTS writes_by_status ON writes (status, next_try);
"""

# A peer's rewards and votes are refused until it is registered, so they wait for its registration to be settled.
_OPEN = "target = :target AND account = :account AND status IN ('waiting', 'sent')"
_UNBLOCKED = f"""{_OPEN} AND (kind = 'register' OR NOT EXISTS (
    SELECT 1 FROM writes AS first WHERE first.target = writes.target AND first.account = writes.account
    AND first.kind = 'register' AND first.peer_id = writes.peer_id AND first.status IN ('waiting', 'sent')))"""
# What was sent comes first: while its fate is open, sending more could only queue up behind it.
_ORDER = "ORDER BY status = 'sent' DESC, kind = 'register' DESC, id"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One unsettled write, as its sender sees it."""

    id: int
    kind: Kind
    round: int
    """-1 for a registration."""
    stage: int
    """-1 for registrations and votes."""
    peer_id: str
    payload: Mapping[str, Any]
    """``{"reward": int}`` or ``{"winners": [peer id, ...]}`` or empty."""
    status: Status
    tries: int
    """Failures that count towards giving up; an unreachable chain doesn't."""
    hash: str | None
    nonce: int | None
    raw: bytes | None
    """The signed transaction, to be sent again as it is: with the same nonce it can't be executed twice."""


class Outbox:
    """The rows of one account on one contract. Safe to use from several threads and several processes.

    Every method raises ChainError when the file can't be read or written (a full disk, a damaged file).
    """

    def __init__(self, path: Path, *, target: str, account: str, finished_kept: int = FINISHED_ROWS_KEPT) -> None:
        self._path = path
        self._finished_kept = finished_kept
        self._scope = {"target": target, "account": account}
        self._lock = threading.RLock()
        with self._trouble_named():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)

    def add(
        self,
        kind: Kind,
        *,
        peer_id: str,
        round: int = _NONE,
        stage: int = _NONE,
        payload: Mapping[str, Any] | None = None,
        again: bool = False,
    ) -> bool:
        """Owe a write. True when there is something new to do; False when the row was there already.

        With ``again``, a settled row is opened once more: the chain may have changed its mind since (a registration
        is checked at every start).
        """
        values = {
            **self._scope,
            "kind": kind,
            "round": round,
            "stage": stage,
            "peer_id": peer_id,
            "payload": json.dumps(payload or {}),
            "now": time.time(),
        }
        on_conflict = "DO NOTHING"
        if again:
            on_conflict = (
                "DO UPDATE SET status = 'waiting', tries = 0, next_try = 0, detail = '', hash = NULL, nonce = NULL, "
                "raw = NULL, changed = excluded.changed WHERE status IN ('confirmed', 'refused')"
            )
        changed = self._execute(
            "INSERT INTO writes (target, account, kind, round, stage, peer_id, payload, changed) VALUES "
            "(:target, :account, :kind, :round, :stage, :peer_id, :payload, :now) "
            f"ON CONFLICT (target, account, kind, round, stage, peer_id) {on_conflict}",
            values,
        ).rowcount
        return changed > 0

    def due(self, now: float) -> Row | None:
        """The next row to work on, if any is due at ``now`` (seconds since the epoch)."""
        found = self._execute(
            f"SELECT * FROM writes WHERE {_UNBLOCKED} AND next_try <= :now {_ORDER} LIMIT 1",
            {**self._scope, "now": now},
        ).fetchone()
        return _row(found) if found is not None else None

    def next_due(self) -> float | None:
        """When the next row is due, seconds since the epoch; None when nothing is open."""
        when = self._execute(f"SELECT min(next_try) FROM writes WHERE {_UNBLOCKED}", self._scope).fetchone()[0]
        return cast("float | None", when)

    def mark_sent(self, row: Row, *, hash: str, nonce: int | None, raw: bytes | None) -> None:
        self._set(row, status="sent", hash=hash, nonce=nonce, raw=raw, next_try=0.0, detail="")

    def mark_confirmed(self, row: Row, detail: str = "") -> None:
        self._set(row, status="confirmed", detail=detail, raw=None)
        self._forget_old()

    def mark_refused(self, row: Row, detail: str) -> None:
        self._set(row, status="refused", detail=detail, raw=None)
        self._forget_old()

    def mark_waiting(self, row: Row, detail: str) -> None:
        """The form in which it was sent is void; it has to be sent anew."""
        self._set(row, status="waiting", hash=None, nonce=None, raw=None, next_try=0.0, detail=detail)

    def postpone(self, row: Row, detail: str, *, until: float, counted: bool) -> None:
        """Try again at ``until``, in the state that the row is in now."""
        self._execute(
            "UPDATE writes SET tries = tries + :counted, next_try = :until, detail = :detail WHERE id = :id",
            {"id": row.id, "counted": int(counted), "until": until, "detail": detail},
        )

    def pending(self) -> int:
        """How many rows are neither confirmed nor refused."""
        return int(self._execute(f"SELECT count(*) FROM writes WHERE {_OPEN}", self._scope).fetchone()[0])

    def transactions(self, limit: int) -> list[Transaction]:
        """The last rows, newest first."""
        found = self._execute(
            "SELECT * FROM writes WHERE target = :target AND account = :account "
            "ORDER BY changed DESC, id DESC LIMIT :limit",
            {**self._scope, "limit": limit},
        )
        return [_transaction(each) for each in found.fetchall()]

    def close(self) -> None:
        with self._lock, self._trouble_named():
            self._connection.close()

    def _set(self, row: Row, **values: Any) -> None:
        assignments = ", ".join(f"{name} = :{name}" for name in values)
        self._execute(
            f"UPDATE writes SET {assignments}, changed = :now WHERE id = :id",
            {**values, "now": time.time(), "id": row.id},
        )

    def _forget_old(self) -> None:
        self._execute(
            "DELETE FROM writes WHERE status IN ('confirmed', 'refused') AND kind != 'register' AND id <= "
            "(SELECT max(id) FROM writes) - :kept",
            {"kept": self._finished_kept},
        )

    def _execute(self, statement: str, values: Mapping[str, Any]) -> sqlite3.Cursor:
        with self._lock, self._trouble_named():
            return self._connection.execute(statement, dict(values))

    @contextmanager
    def _trouble_named(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ChainError(
                f"The outbox {self._path} can't be used: {error}. Check that its disk isn't full and that the file is "
                "yours; if it is damaged, move it away (writes that aren't on chain yet are lost with it)."
            ) from error


def target_of(contract_address: str, chain: int | str) -> str:
    """The chain and contract that rows are meant for: ``chain`` is the chain's id, or its RPC where that is unknown."""
    return f"{chain}:{to_checksum_address(contract_address)}"


def read_outbox(
    path: Path, limit: int = 5, *, target: str | None = None, account: str | None = None
) -> tuple[int, list[Transaction]]:
    """How many writes are open in the outbox at ``path``, and the newest rows, without changing it.

    For commands that look on from outside while a node may run. ``target`` and ``account`` leave out those of others.
    (0, []) when there is no outbox. Raises ChainError.
    """
    chosen = "(:target IS NULL OR target = :target) AND (:account IS NULL OR account = :account)"
    values = {"target": target, "account": account, "limit": limit}
    if not path.exists():
        return 0, []
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            connection.row_factory = sqlite3.Row
            (pending,) = connection.execute(
                f"SELECT count(*) FROM writes WHERE status IN ('waiting', 'sent') AND {chosen}", values
            ).fetchone()
            rows = connection.execute(
                f"SELECT * FROM writes WHERE {chosen} ORDER BY changed DESC, id DESC LIMIT :limit", values
            ).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ChainError(f"The outbox {path} can't be read: {error}.") from error
    return int(pending), [_transaction(each) for each in rows]


def _row(found: sqlite3.Row) -> Row:
    return Row(
        id=found["id"],
        kind=found["kind"],
        round=found["round"],
        stage=found["stage"],
        peer_id=found["peer_id"],
        payload=json.loads(found["payload"]),
        status=found["status"],
        tries=found["tries"],
        hash=found["hash"],
        nonce=found["nonce"],
        raw=found["raw"],
    )


def _transaction(found: sqlite3.Row) -> Transaction:
    return Transaction(
        kind=found["kind"],
        round=None if found["round"] == _NONE else found["round"],
        stage=None if found["stage"] == _NONE else found["stage"],
        status=found["status"],
        detail=found["detail"],
        hash=found["hash"],
        time=found["changed"],
    )

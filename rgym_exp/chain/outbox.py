"""The outbox: every write that isn't settled yet, and the last that are, in one SQLite file that survives restarts.

A row is one (target, account, kind, round, stage, peer, contract): adding it twice changes nothing. Statuses:

    waiting  -> sent       it was signed (and perhaps received by the chain: only the chain knows)
    sent     -> confirmed  the chain has it
    sent     -> waiting    the chain will never have it in this form
    confirmed -> waiting   the chain was set back, and lost it
    waiting, sent -> refused   the contract won't take it; ``detail`` says why

Rows carry the chain and the SwarmCoordinator that they are meant for (``target``) and the account that owes them, so
that a home that changes its network or its account never sends yesterday's rewards to the wrong place. Bets and claims
carry their market too (``contract``): its games are counted from 0, as those of a market before it were. Their round is
the game, and a bet's stage is the clue.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rgym_exp.base.sqlite import connect
from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.outbox_rows import NONE, BlockSeen, Row, row_of, transaction_of
from rgym_exp.chain.outbox_schema import prepare
from rgym_exp.chain.writes import Kind, Transaction

_LARGEST_ID = 2**63 - 1

FINISHED_ROWS_KEPT = 1000
"""Of the confirmed and refused; a year of rounds would otherwise fill the disk and slow every look. Bets and claims are
counted by themselves: a game may last longer than so many rewards, and what it was bet on must not be forgotten."""

# What may be opened once more, and when. A bet never: whatever became of it, a clue is bet on once. A claim may have
# been refused because its game was still open.
_REOPENED: Mapping[Kind, str] = {"register": "('confirmed', 'refused')", "claim": "('refused')"}

# A chain that was set back takes rewards and votes of later rounds once it is at these again.
_AHEAD = "kind IN ('reward', 'winners') AND round > :at_round"
# Whatever else a peer writes is refused until it is registered, so it waits for the registration to be settled.
_OPEN = "target = :target AND account = :account AND status IN ('waiting', 'sent')"
_UNBLOCKED = f"""{_OPEN} AND (kind = 'register' OR NOT EXISTS (
    SELECT 1 FROM writes AS first WHERE first.target = writes.target AND first.account = writes.account
    AND first.kind = 'register' AND first.peer_id = writes.peer_id AND first.status IN ('waiting', 'sent')))"""
# What was sent comes first: while its fate is open, sending more could only queue up behind it. Bets come before
# rewards: a clue passes, and rewards of past rounds are taken.
_ORDER = "ORDER BY status = 'sent' DESC, kind = 'register' DESC, kind = 'bet' DESC, id"
_SAME = (
    "target = :target AND account = :account AND kind = :kind AND round = :round AND stage = :stage "
    "AND peer_id = :peer_id AND contract = :contract"
)


class Outbox:
    """The rows of one account on one contract. Safe to use from several threads and several processes.

    Every method raises ChainError when the file can't be read or written (a full disk, a damaged file).
    """

    def __init__(self, path: Path, *, target: str, account: str, finished_kept: int = FINISHED_ROWS_KEPT) -> None:
        self._path = path
        self._finished_kept = finished_kept
        self._scope = {"target": target, "account": account}
        self._next_try: dict[int, float] = {}
        """When a row that was postponed is due, by its id; by this process's own monotonic clock, so that neither a
        clock that somebody sets nor an earlier run can make a row wait."""
        self._lock = threading.RLock()
        with self._trouble_named():
            self._connection = connect(path, durable=True)
            prepare(self._connection)

    def add(
        self,
        kind: Kind,
        *,
        peer_id: str,
        round: int = NONE,
        stage: int = NONE,
        contract: str = "",
        payload: Mapping[str, Any] | None = None,
        again: bool = False,
    ) -> bool:
        """Owe a write. True when there is something new to do; False when the row was there already.

        With ``again``, a settled registration or a refused claim is opened once more: the chain may have changed its
        mind since (a registration is checked at every start). ValueError for other kinds.
        """
        on_conflict = "DO NOTHING"
        if again and kind not in _REOPENED:
            raise ValueError(f"a {kind} is owed once")
        if again:
            on_conflict = (
                "DO UPDATE SET status = 'waiting', tries = 0, detail = '', hash = NULL, nonce = NULL, "
                f"raw = NULL, changed = excluded.changed WHERE status IN {_REOPENED[kind]}"
            )
        changed = self._write(
            "INSERT INTO writes (target, account, kind, round, stage, peer_id, contract, payload, changed) VALUES "
            "(:target, :account, :kind, :round, :stage, :peer_id, :contract, :payload, :now) "
            f"ON CONFLICT (target, account, kind, round, stage, peer_id, contract) {on_conflict}",
            {
                **self._names(kind, peer_id=peer_id, round=round, stage=stage, contract=contract),
                "payload": json.dumps(payload or {}),
                "now": time.time(),
            },
        )
        return changed > 0

    def find(self, kind: Kind, *, peer_id: str, round: int = NONE, stage: int = NONE, contract: str = "") -> Row | None:
        """One write, whatever became of it; None when it was never owed, or was settled too long ago."""
        return self._row(
            f"SELECT * FROM writes WHERE {_SAME}",
            self._names(kind, peer_id=peer_id, round=round, stage=stage, contract=contract),
        )

    def open_stakes(self, *, peer_id: str, contract: str) -> int:
        """The sum of the stakes of a peer's bets that aren't settled, in the market's smallest unit."""
        found = self._rows(
            f"SELECT payload FROM writes WHERE {_OPEN} AND kind = 'bet' AND peer_id = :peer_id "
            "AND contract = :contract",
            {**self._scope, "peer_id": peer_id, "contract": contract},
        )
        # Summed here: stakes are larger than SQLite's integers.
        return sum(int(json.loads(each["payload"])["stake"]) for each in found)

    def due(self, now: float, *, at_round: int | None = None) -> Row | None:
        """The next row to work on, if any is due at ``now`` (monotonic seconds). With ``at_round``, rewards and votes
        of later rounds aren't."""
        ids = self._open_ids(at_round)
        due = next((row_id for row_id in ids if self._next_try.get(row_id, 0.0) <= now), None)
        if due is None:
            return None
        return self._row("SELECT * FROM writes WHERE id = :id", {"id": due})

    def next_due(self, *, at_round: int | None = None) -> float | None:
        """When the next row is due, monotonic seconds; None when nothing is open."""
        return min((self._next_try.get(row_id, 0.0) for row_id in self._open_ids(at_round)), default=None)

    def mark_sent(self, row: Row, *, hash: str | None, nonce: int | None, raw: bytes | None) -> None:
        self._set(row, status="sent", hash=hash, nonce=nonce, raw=raw, detail="")

    def mark_confirmed(self, row: Row, detail: str = "") -> None:
        self._set(row, status="confirmed", detail=detail, raw=None)
        self._forget_old()

    def mark_refused(self, row: Row, detail: str) -> None:
        self._set(row, status="refused", detail=detail, raw=None)
        self._forget_old()

    def mark_waiting(self, row: Row, detail: str) -> None:
        """The form in which it was sent is void; it has to be sent anew."""
        self._set(row, status="waiting", hash=None, nonce=None, raw=None, detail=detail)

    def postpone(self, row: Row, detail: str, *, until: float, counted: bool) -> None:
        """Try again at ``until`` (monotonic seconds), in the state that the row is in now."""
        self._write(
            "UPDATE writes SET tries = tries + :counted, detail = :detail WHERE id = :id",
            {"id": row.id, "counted": int(counted), "detail": detail},
        )
        self._next_try[row.id] = until

    def confirmed_before(self, row: Row | None) -> Row | None:
        """The confirmed row next older than ``row``; the newest of all for None."""
        return self._row(
            "SELECT * FROM writes WHERE target = :target AND account = :account AND status = 'confirmed' "
            "AND id < :id ORDER BY id DESC LIMIT 1",
            {**self._scope, "id": _LARGEST_ID if row is None else row.id},
        )

    def sent(self) -> list[Row]:
        """Every row whose fate is open."""
        found = self._rows(
            "SELECT * FROM writes WHERE target = :target AND account = :account AND status = 'sent'", self._scope
        )
        return [row_of(each) for each in found]

    def is_ahead(self, at_round: int) -> bool:
        """Whether rewards or votes of rounds after this one are open."""
        return bool(
            self._rows(
                f"SELECT 1 FROM writes WHERE {_OPEN} AND {_AHEAD} LIMIT 1", {**self._scope, "at_round": at_round}
            )
        )

    def owe_again(self, row: Row, detail: str) -> None:
        """A confirmed or sent row has to be sent anew, unless another process has seen to it by now."""
        self._write(
            "UPDATE writes SET status = 'waiting', hash = NULL, nonce = NULL, raw = NULL, tries = 0, detail = :detail, "
            "changed = :now WHERE id = :id AND status = :status",
            {"id": row.id, "status": row.status, "detail": detail, "now": time.time()},
        )
        self._next_try.pop(row.id, None)

    def block_seen(self) -> BlockSeen | None:
        """What ``see_block`` was told last; None before the first."""
        found = self._rows("SELECT number, hash, is_behind FROM seen WHERE target = :target", self._scope)
        if not found:
            return None
        return BlockSeen(number=found[0]["number"], hash=found[0]["hash"], is_behind=bool(found[0]["is_behind"]))

    def see_block(self, number: int, hash: str, *, is_behind: bool) -> None:
        """Remember how far the chain is, also for the next run (see ``BlockSeen``)."""
        self._write(
            "INSERT INTO seen (target, number, hash, is_behind) VALUES (:target, :number, :hash, :is_behind) "
            "ON CONFLICT (target) DO UPDATE SET number = :number, hash = :hash, is_behind = :is_behind",
            {**self._scope, "number": number, "hash": hash, "is_behind": int(is_behind)},
        )

    def pending(self) -> int:
        """How many rows are neither confirmed nor refused."""
        return int(self._rows(f"SELECT count(*) FROM writes WHERE {_OPEN}", self._scope)[0][0])

    def transactions(self, limit: int) -> list[Transaction]:
        """The last rows, newest first."""
        found = self._rows(
            "SELECT * FROM writes WHERE target = :target AND account = :account "
            "ORDER BY changed DESC, id DESC LIMIT :limit",
            {**self._scope, "limit": limit},
        )
        return [transaction_of(each) for each in found]

    def close(self) -> None:
        with self._lock, self._trouble_named():
            self._connection.close()

    def _open_ids(self, at_round: int | None) -> list[int]:
        """What could be worked on, in the order in which it is.

        When each is due is looked up here and not by a function within SQL: SQLite would call it with a lock held that
        another thread may wait for while it holds Python's own, and both would wait for ever.
        """
        found = self._rows(
            f"SELECT id FROM writes WHERE {_UNBLOCKED} AND {_not_ahead(at_round)} {_ORDER}",
            {**self._scope, "at_round": at_round},
        )
        return [row["id"] for row in found]

    def _set(self, row: Row, **values: Any) -> None:
        assignments = ", ".join(f"{name} = :{name}" for name in values)
        self._write(
            f"UPDATE writes SET {assignments}, changed = :now WHERE id = :id",
            {**values, "now": time.time(), "id": row.id},
        )
        self._next_try.pop(row.id, None)

    def _forget_old(self) -> None:
        settled = "DELETE FROM writes WHERE status IN ('confirmed', 'refused') AND"
        kept = {"kept": self._finished_kept}
        self._write(
            f"{settled} kind NOT IN ('register', 'bet', 'claim') AND id <= (SELECT max(id) FROM writes) - :kept", kept
        )
        self._write(
            f"{settled} kind IN ('bet', 'claim') AND id <= (SELECT id FROM writes WHERE kind IN ('bet', 'claim') "
            "ORDER BY id DESC LIMIT 1 OFFSET :kept)",
            kept,
        )

    def _names(self, kind: Kind, *, peer_id: str, round: int, stage: int, contract: str) -> dict[str, Any]:
        """What tells a row from every other."""
        own = {"kind": kind, "round": round, "stage": stage, "peer_id": peer_id, "contract": contract}
        return {**self._scope, **own}

    def _row(self, statement: str, values: Mapping[str, Any]) -> Row | None:
        found = self._rows(statement, values)
        return row_of(found[0]) if found else None

    def _rows(self, statement: str, values: Mapping[str, Any]) -> list[sqlite3.Row]:
        # All of them within the lock: under a query that is not read to its end, SQLite refuses a write ("database is
        # locked") as soon as another process has written since.
        with self._lock, self._trouble_named():
            return self._connection.execute(statement, dict(values)).fetchall()

    def _write(self, statement: str, values: Mapping[str, Any]) -> int:
        """How many rows it changed."""
        with self._lock, self._trouble_named():
            return self._connection.execute(statement, dict(values)).rowcount

    @contextmanager
    def _trouble_named(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ChainError(
                f"The outbox {self._path} can't be used: {error}. Check that its disk isn't full and that the file is "
                "yours; if it is damaged, move it away (writes that aren't on chain yet are lost with it)."
            ) from error


def _not_ahead(at_round: int | None) -> str:
    return "TRUE" if at_round is None else f"NOT ({_AHEAD})"

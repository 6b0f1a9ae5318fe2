"""An outbox as commands see it, which look on from outside while a node may run."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.outbox_rows import transaction_of
from rgym_exp.chain.writes import Transaction


def read_outbox(
    path: Path, limit: int = 5, *, target: str | None = None, account: str | None = None
) -> tuple[int, list[Transaction]]:
    """How many writes are open in the outbox at ``path``, and the newest rows, without changing it.

    ``target`` and ``account`` leave out those of others.
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
    return int(pending), [transaction_of(each) for each in rows]

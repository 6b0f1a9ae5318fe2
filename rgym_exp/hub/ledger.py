"""The ledger: what each peer has done on the contract, added up from events, in one SQLite file.

The contract itself can say how much reward and how many votes a peer has in all, but not how many rounds it took part
in, nor who the peers are; and a chain may forget its old events (``rgym_exp.chain.saved_state``). So events are added
up as they come, and what was added up stays.

Nothing is counted twice: the cursor (the last block read) moves in the same transaction as the sums. A chain may also
go back, after a crash or in a reorganisation, and then make other blocks with the same numbers. The journal remembers
what the blocks of late have added, so that it can be taken back; sums that can't be known from events (those of a peer
whose earlier events are gone) are marked unsettled until the contract's own totals have been asked.

What is in here was written by strangers. ``contract_events`` bounds each value, ``MAX_PEERS`` their number.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rgym_exp.base.sqlite import changing, connect_or_begin_anew
from rgym_exp.errors import HubError
from rgym_exp.hub.contract_events import MAX_AMOUNT, ContractEvent, RewardEvent
from rgym_exp.hub.ledger_tables import make_tables

log = logging.getLogger("rl_swarm.hub.ledger")

MAX_PEERS = 100_000
"""Identities are free. When there are more, those that took part least are forgotten."""
JOURNAL_BLOCKS = 1024
"""How far back the chain may go with exact sums. A killed devnet goes back by what it made in 5 s, or, from its copy,
in a minute."""

_TAKE_BACK = """
UPDATE peers SET rounds = peers.rounds - undone.rounds, reward = peers.reward - undone.reward,
    wins = peers.wins - undone.wins, settled = 0
FROM (SELECT peer_id, sum(rounds) AS rounds, sum(wins) AS wins,
             max(-:most, min(:most, CAST(total(reward) AS INTEGER))) AS reward
      FROM journal WHERE block > :number GROUP BY peer_id) AS undone
WHERE undone.peer_id = peers.peer_id
"""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block that was read."""

    number: int
    hash: str
    """0x-hex; empty for one that the chain has cut away."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What one peer has done, as far as the contract told."""

    peer_id: str
    account: str
    rounds: int
    """Rounds for which it has reported a reward."""
    reward: int
    """Sum of the rewards that it has reported."""
    wins: int
    """Votes that it got."""
    first_round: int
    last_round: int


class Ledger:
    """The tallies of one contract on one chain. Safe to use from several threads.

    Every method raises a HubError when the file can't be read or written (a full disk).
    """

    def __init__(
        self, path: Path, *, chain_id: int, contract: str, is_new: bool = False, max_peers: int = MAX_PEERS
    ) -> None:
        """``is_new``: the contract was deployed just now, so that an earlier ledger is another one's, even under the
        same address (a chain begun anew by the same owner gives it again). A damaged file is moved aside."""
        self._path = path
        self._max_peers = max_peers
        self._lock = threading.Lock()
        try:
            self._connection = connect_or_begin_anew(path, make_tables, then="A new ledger begins.", log=log)
        except OSError as error:
            raise HubError(f"The leaderboard's file {error}.") from error
        identity = f"{chain_id}:{contract.lower()}"
        if is_new or self._meta("identity") not in (None, identity):
            self.start_anew()
        with self._changing() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('identity', ?)", (identity,))

    def cursor(self) -> Block | None:
        """The last block whose events are in here; None for a new ledger."""
        number, hash = self._meta("cursor number"), self._meta("cursor hash")
        return None if number is None or hash is None else Block(number=int(number), hash=hash)

    def record(self, events: Sequence[ContractEvent], *, upto: Block) -> None:
        """Add events, in the chain's order, and move the cursor to ``upto``, the last block they were looked for in."""
        with self._changing() as connection:
            for event in events:
                if isinstance(event, RewardEvent):
                    _add_reward(connection, event)
                else:
                    for winner in event.winners:
                        _add(connection, event, winner, wins=1)
            blocks = {event.block: event.block_hash for event in events} | {upto.number: upto.hash}
            known = [(number, hash) for number, hash in blocks.items() if hash]
            connection.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?)", known)
            _set_cursor(connection, upto)
            for table, column in (("journal", "block"), ("blocks", "number")):
                connection.execute(f"DELETE FROM {table} WHERE {column} <= ?", (upto.number - JOURNAL_BLOCKS,))
            self._forget_some(connection)

    def blocks(self) -> list[Block]:
        """The blocks of late that are remembered, newest first: where the chain and the ledger may part."""
        rows = self._rows("SELECT number, hash FROM blocks ORDER BY number DESC")
        return [Block(number=number, hash=hash) for number, hash in rows]

    def go_back_to(self, block: Block) -> None:
        """Take back what later blocks have added, and put the cursor here. Sums that were touched are unsettled.

        ``last_round`` isn't taken back: who sent a reward that the chain lost sends it again.
        """
        with self._changing() as connection:
            after = {"number": block.number}
            connection.execute(_TAKE_BACK, {**after, "most": MAX_AMOUNT})
            connection.execute("DELETE FROM peers WHERE rounds <= 0")
            connection.execute("DELETE FROM journal WHERE block > :number", after)
            connection.execute("DELETE FROM blocks WHERE number > :number", after)
            _set_cursor(connection, block)

    def start_anew(self) -> None:
        """Forget everything: this is another contract, or another chain."""
        with self._changing() as connection:
            for table in ("peers", "journal", "blocks"):
                connection.execute(f"DELETE FROM {table}")
            connection.execute("DELETE FROM meta WHERE name LIKE 'cursor%'")

    def unsettle(self) -> None:
        """Events may have been missed: ask the contract for everybody's totals."""
        with self._changing() as connection:
            connection.execute("UPDATE peers SET settled = 0")

    def unsettled(self, limit: int) -> list[str]:
        """Peer ids whose totals the contract should be asked for."""
        return [peer for (peer,) in self._rows("SELECT peer_id FROM peers WHERE NOT settled LIMIT ?", limit)]

    def settle(self, totals: Mapping[str, tuple[int, int]]) -> None:
        """Peer id -> (reward, wins): the contract's totals as of the cursor's block."""
        rows = [(_bounded(reward), _bounded(wins), peer) for peer, (reward, wins) in totals.items()]
        with self._changing() as connection:
            connection.executemany("UPDATE peers SET reward = ?, wins = ?, settled = 1 WHERE peer_id = ?", rows)

    def leaders(self, limit: int) -> list[Tally]:
        """The first peers by reward, then votes."""
        rows = self._rows(
            "SELECT peer_id, account, rounds, reward, wins, first_round, last_round FROM peers "
            "ORDER BY reward DESC, wins DESC, peer_id LIMIT ?",
            limit,
        )
        names = ("peer_id", "account", "rounds", "reward", "wins", "first_round", "last_round")
        return [Tally(**dict(zip(names, row, strict=True))) for row in rows]

    def peer_count(self) -> int:
        return int(self._rows("SELECT count(*) FROM peers")[0][0])

    def close(self) -> None:
        """Waits for the change under way. Afterwards every method raises a HubError."""
        with self._lock:
            self._connection.close()

    def _forget_some(self, connection: sqlite3.Connection) -> None:
        """Keep to ``max_peers``, a hundredth of leeway apart, so that a flood doesn't cost a sort for every peer."""
        (count,) = connection.execute("SELECT count(*) FROM peers").fetchone()
        if count > self._max_peers + self._max_peers // 100:
            connection.execute(
                "DELETE FROM peers WHERE peer_id IN "
                "(SELECT peer_id FROM peers ORDER BY rounds, last_round, peer_id LIMIT ?)",
                (count - self._max_peers,),
            )

    def _meta(self, name: str) -> str | None:
        rows = self._rows("SELECT value FROM meta WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock, self._trouble_named():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing of it."""
        with self._lock, self._trouble_named(), changing(self._connection) as connection:
            yield connection

    @contextmanager
    def _trouble_named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise HubError(
                f"The leaderboard's file {self._path} can't be used: {error}. Check that its disk isn't full and that "
                "the file is yours; if it is damaged, move it away (what it counted begins anew)."
            ) from error


def _add_reward(connection: sqlite3.Connection, event: RewardEvent) -> None:
    found = connection.execute("SELECT last_round FROM peers WHERE peer_id = ?", (event.peer_id,)).fetchone()
    # Once per peer, round and stage, says the contract; of several stages of a round one counts as the round.
    again = event.stage > 0 and found is not None and found[0] == event.round
    if found is None:
        connection.execute(
            "INSERT INTO peers VALUES (?, ?, 0, 0, 0, ?, ?, 0)",
            (event.peer_id, event.account, event.round, event.round),
        )
    if _add(connection, event, event.peer_id, rounds=0 if again else 1, reward=event.reward):
        connection.execute(
            "UPDATE peers SET account = ?, first_round = min(first_round, ?), last_round = max(last_round, ?) "
            "WHERE peer_id = ?",
            (event.account, event.round, event.round, event.peer_id),
        )


def _add(
    connection: sqlite3.Connection,
    event: ContractEvent,
    peer_id: str,
    *,
    rounds: int = 0,
    reward: int = 0,
    wins: int = 0,
) -> bool:
    """Add to a peer's sums and to the journal; False when this event was added before, or the peer is unknown.

    A vote makes nobody known (it may name anybody, thousands at once): who reports a reward later is settled then.
    """
    if connection.execute("SELECT 1 FROM peers WHERE peer_id = ?", (peer_id,)).fetchone() is None:
        return False
    added = connection.execute(
        "INSERT OR IGNORE INTO journal VALUES (?, ?, ?, ?, ?, ?)",
        (event.block, event.log_index, peer_id, rounds, reward, wins),
    ).rowcount
    if added:
        connection.execute(
            "UPDATE peers SET rounds = rounds + :rounds, reward = max(-:most, min(:most, reward + :reward)), "
            "wins = wins + :wins WHERE peer_id = :peer_id",
            {"rounds": rounds, "reward": reward, "wins": wins, "most": MAX_AMOUNT, "peer_id": peer_id},
        )
    return added > 0


def _set_cursor(connection: sqlite3.Connection, block: Block) -> None:
    values = [("cursor number", str(block.number)), ("cursor hash", block.hash)]
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)


def _bounded(amount: int) -> int:
    return max(-MAX_AMOUNT, min(MAX_AMOUNT, amount))

"""A row of the outbox, as its sender and as people see it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from eth_utils.address import to_checksum_address

from rgym_exp.chain.writes import Kind, Status, Transaction

NONE = -1
"""Stands for "no round" and "no stage": NULLs are never equal to each other in a UNIQUE constraint."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One write, as its sender sees it."""

    id: int
    kind: Kind
    round: int
    """The game for bets and claims; -1 for a registration."""
    stage: int
    """The clue for bets; -1 for registrations, votes and claims."""
    peer_id: str
    contract: str
    """The market of a bet or claim, 0x-hex with checksum; "" for what goes to the SwarmCoordinator."""
    payload: Mapping[str, Any]
    """``{"reward": int}``, ``{"winners": [peer id, ...]}``, ``{"choice": int, "stake": int}`` or empty."""
    status: Status
    detail: str
    """Why it waits or was refused; empty when there is nothing to say."""
    tries: int
    """Failures that count towards giving up; an unreachable chain doesn't."""
    hash: str | None
    """None before it was sent, and while a server that was given it to send hasn't answered."""
    nonce: int | None
    raw: bytes | None
    """The signed transaction, to be sent again as it is: with the same nonce it can't be executed twice."""


@dataclass(frozen=True, kw_only=True)
class BlockSeen:
    """How far the chain was at the last look."""

    number: int
    hash: str
    """0x-hex."""
    is_behind: bool
    """Whether it was set back, and is still before rounds of what it lost."""


def row_of(found: sqlite3.Row) -> Row:
    """The row, out of a line of the table."""
    values = {field.name: found[field.name] for field in fields(Row)}
    return Row(**{**values, "payload": json.loads(found["payload"])})


def transaction_of(found: sqlite3.Row) -> Transaction:
    """What is told of it."""
    return Transaction(
        kind=found["kind"],
        round=None if found["round"] == NONE else found["round"],
        stage=None if found["stage"] == NONE else found["stage"],
        status=found["status"],
        detail=found["detail"],
        hash=found["hash"],
        time=found["changed"],
    )


def target_of(contract_address: str, chain: int | str) -> str:
    """The chain and contract that rows are meant for: ``chain`` is the chain's id, or its RPC where that is unknown."""
    return f"{chain}:{to_checksum_address(contract_address)}"

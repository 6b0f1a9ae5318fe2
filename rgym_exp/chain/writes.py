"""Writes to the swarm's contracts, as their outbox tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["register", "reward", "winners", "bet", "claim"]
Status = Literal["waiting", "sent", "confirmed", "refused"]


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One write and how far it got.

    Example: ``Transaction(kind="reward", round=7, stage=0, status="refused", detail="InvalidStageNumber: ...", ...)``
    """

    kind: Kind
    round: int | None
    """None for a registration, which belongs to no round."""
    stage: int | None
    """None for registrations and votes."""
    status: Status
    detail: str
    """Why it waits or was refused, in a sentence; empty when there is nothing to say."""
    hash: str | None
    """0x-hex transaction (or user operation) hash; None before it was sent."""
    time: float
    """When the status last changed, seconds since the epoch."""

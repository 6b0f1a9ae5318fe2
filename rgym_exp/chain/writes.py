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
    """The game for bets and claims; None for a registration, which belongs to no round."""
    stage: int | None
    """The clue for bets; None for registrations, votes and claims."""
    status: Status
    detail: str
    """Why it waits or was refused, in a sentence; empty when there is nothing to say."""
    hash: str | None
    """0x-hex transaction (or user operation) hash; None before it was sent."""
    time: float
    """When the status last changed, seconds since the epoch."""

    @property
    def title(self) -> str:
        """What it is about, e.g. ``bet on clue 2 of game 7``."""
        return title(self.kind, self.round, self.stage)


def title(kind: Kind, round: int | None, stage: int | None) -> str:
    """What a write is about, in words that go after "the"; e.g. ``reward of round 7``."""
    match kind:
        case "register":
            return "registration"
        case "bet":
            return f"bet on clue {stage} of game {round}"
        case "claim":
            return f"claim of game {round}"
        case "winners":
            return f"vote of round {round}"
    return f"reward of round {round}"

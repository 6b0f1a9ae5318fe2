"""The seam between a node and the prediction market's contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from rgym_exp.chain.writes import Status

ONE_TOKEN = 10**18
"""Bet tokens have 18 decimals; every amount here is a whole number of the smallest unit."""

_LARGEST_NUMBER = 2**63 - 1
"""Of games, clues and choices: the largest that the outbox can keep."""

GameStatus = Literal["unknown", "open", "revealed", "abandoned"]


@dataclass(frozen=True, kw_only=True)
class Bet:
    """A bet in the outbox, and how far it got."""

    game: int
    clue: int
    choice: int
    """Index into the game's choices."""
    stake: int
    status: Status
    detail: str
    """Why it waits or was refused; empty when there is nothing to say."""


@dataclass(frozen=True, kw_only=True)
class GameResult:
    """What the contract says about a game and one peer in it."""

    status: GameStatus
    correct_choice: int | None
    """Index into the game's choices; None before it is revealed."""
    payout: int | None
    """What the peer's claim pays (or paid): 0 for a lost game. None while the game is open, or where the contract
    doesn't tell."""


class Market(Protocol):
    """The prediction market as one node sees it. Reads ask the chain now and may take seconds (call them from a
    background thread); writes go to the outbox and return at once. Methods may be called from any thread."""

    address: str
    """The market's contract, 0x-hex with checksum."""

    def balance(self, peer_id: str) -> int:
        """What the peer may still stake: the contract's balance less its bets in the outbox that aren't settled.

        Raises ChainUnavailable; ChainError when the contract isn't there.
        """
        ...

    def place_bet(self, *, game: int, clue: int, choice: int, stake: int, peer_id: str) -> bool:
        """Owe a bet. False, and nothing changes, when this peer's bet on this clue is in the outbox already, whatever
        became of it: a clue is never bet on twice. ValueError for a stake of 0 or less, and for numbers that no game,
        clue or choice has. Raises ChainError."""
        ...

    def bet_on(self, *, game: int, clue: int, peer_id: str) -> Bet | None:
        """The peer's bet on a clue, from the outbox; None when there is none. Raises ChainError."""
        ...

    def claim(self, *, game: int, peer_id: str) -> None:
        """Owe the claim of what a game pays. A refused claim is tried again; a confirmed one is left alone.

        ValueError for a number that no game has. Raises ChainError."""
        ...

    def claim_status(self, *, game: int, peer_id: str) -> Status | None:
        """How far the claim got; None when none is in the outbox. Raises ChainError."""
        ...

    def result(self, *, game: int, peer_id: str) -> GameResult:
        """How a game stands. Raises like ``balance``."""
        ...


def is_number(number: int) -> bool:
    """Whether a game, clue or choice can have this number: they come from a judge, who may be a stranger."""
    return 0 <= number <= _LARGEST_NUMBER


def require_bet(*, game: int, clue: int, choice: int, stake: int) -> None:
    """Raise ValueError for a bet that can't be written down."""
    for name, number in (("game", game), ("clue", clue), ("choice", choice)):
        if not is_number(number):
            raise ValueError(f"there is no {name} {number}")
    if not 0 < stake < 2**256:
        raise ValueError(f"{stake} can't be staked")

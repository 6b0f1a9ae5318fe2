"""The seam between a node and the contract, and how it may fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rgym_exp.chain.market import Market
from rgym_exp.chain.writes import Transaction
from rgym_exp.errors import SwarmUserError


class ChainError(SwarmUserError):
    """The chain, the contract or the account can't be used as configured; waiting won't help."""


class ChainUnavailable(ChainError):
    """The chain can't be reached now. It may be back later: ask again."""


@dataclass(frozen=True, kw_only=True)
class PeerTotals:
    """What the contract says about one peer."""

    registered_to: str | None
    """The account that registered the peer; None when nobody has."""
    total_reward: int
    """Sum of all rewards the peer has reported."""
    total_wins: int
    """Votes the peer got, over all rounds."""


class Coordinator(Protocol):
    """The contract as one node sees it. Reads ask the chain now; the three writes return at once and are sent later.

    Methods may be called from any thread. After ``close`` none may be called.
    """

    account: str
    """0x-hex address of the account that owns this node's peers; "" when there is no chain."""
    market: Market | None
    """The swarm's prediction market, whose bets this coordinator's account signs; None where there is none."""

    def round_and_stage(self, *, after: int | None = None) -> tuple[int, int]:
        """The swarm's round and stage. With ``after`` it may block for some seconds while the round isn't beyond that,
        and gives what the round is then; a signal's exception in the main thread ends the wait at once.

        Raises ChainUnavailable; ChainError when the contract isn't there."""
        ...

    def bootnodes(self) -> list[str]:
        """Multiaddrs that the contract lists. Raises like ``round_and_stage``."""
        ...

    def register(self, peer_id: str) -> None:
        """Make the peer this account's. Called at every start: for a registered peer it costs no transaction."""
        ...

    def submit_reward(self, *, round: int, stage: int, reward: int, peer_id: str) -> None:
        """Report the peer's reward. A second call for the same round and stage changes nothing. Where it can't be
        written down now (a full disk), it is kept in memory until it can."""
        ...

    def submit_winners(self, *, round: int, winners: Sequence[str], peer_id: str) -> None:
        """Vote. ``winners`` must not be empty (ValueError). A second call for the same round changes nothing.
        Kept in memory like a reward."""
        ...

    def peer_totals(self, peer_id: str) -> PeerTotals:
        """What the contract says about any peer. Raises like ``round_and_stage``."""
        ...

    def pending(self) -> int:
        """How many writes are neither confirmed nor refused."""
        ...

    def transactions(self, limit: int = 5) -> list[Transaction]:
        """The last writes, newest first."""
        ...

    def close(self, *, flush_seconds: float = 0.0) -> None:
        """Stop. Tries for so long to get everything confirmed; what remains is sent at the next start."""
        ...

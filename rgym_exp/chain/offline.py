"""No chain at all: the round is what the clock says, and nothing is written anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rgym_exp.chain.coordinator import PeerTotals
from rgym_exp.chain.market import Market
from rgym_exp.chain.writes import Transaction


class OfflineCoordinator:
    """Rounds of a fixed length, counted from the epoch: peers whose clocks agree are in the same round, and a node
    that restarts goes on with new rounds instead of repeating old ones. Rewards and votes go nowhere."""

    account = ""
    market: Market | None = None

    def __init__(self, *, round_seconds: float = 60.0, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives seconds since the epoch. Raises ValueError unless ``round_seconds`` is positive."""
        if not round_seconds > 0:
            raise ValueError(f"blockchain.round_seconds is {round_seconds}; a round needs a positive length.")
        self._round_seconds = round_seconds
        self._clock = clock

    def round_and_stage(self, *, after: int | None = None) -> tuple[int, int]:
        return int(self._clock() // self._round_seconds), 0

    def bootnodes(self) -> list[str]:
        return []

    def register(self, peer_id: str) -> None:
        """Nobody keeps registrations."""

    def submit_reward(self, *, round: int, stage: int, reward: int, peer_id: str) -> None:
        """Nobody keeps rewards."""

    def submit_winners(self, *, round: int, winners: Sequence[str], peer_id: str) -> None:
        """Nobody keeps votes."""

    def peer_totals(self, peer_id: str) -> PeerTotals:
        return PeerTotals(registered_to=None, total_reward=0, total_wins=0)

    def pending(self) -> int:
        return 0

    def transactions(self, limit: int = 5) -> list[Transaction]:
        return []

    def close(self, *, flush_seconds: float = 0.0) -> None:
        """Nothing is open."""

"""The contract's rules in this process, for tests and for swarms simulated on one machine.

``tests/unit/chain/test_coordinator_kinds.py`` plays the same script here and on a real chain and compares.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from rgym_exp.chain.coordinator import ChainUnavailable, PeerTotals
from rgym_exp.chain.market import Market
from rgym_exp.chain.verdict import meaning, someone_elses_peer
from rgym_exp.chain.writes import Kind, Status, Transaction
from simulation.memory_market import Game, MemoryGames, MemoryMarket


class MemoryChain:
    """What the contract would keep. Shared by the coordinators of all nodes; safe to use from several threads."""

    def __init__(self, *, bootnodes: Sequence[str] = (), stage_count: int = 1) -> None:
        self.lock = threading.RLock()
        self.round = 0
        self.stage = 0
        self.stage_count = stage_count
        self.bootnodes = list(bootnodes)
        self.available = True
        """Set to False to play an RPC that is away."""
        self.owners: dict[str, str] = {}
        """Account by peer id."""
        self.rewards: dict[tuple[int, int, str], int] = {}
        """By round, stage and peer id."""
        self.votes: dict[tuple[int, str], tuple[str, ...]] = {}
        """By round and the voter's peer id."""
        self.market = MemoryGames(self.owners)
        """The prediction market's contract."""

    def advance(self) -> tuple[int, int]:
        """Move on to the next stage or round; returns what it is now."""
        with self.lock:
            self.stage = (self.stage + 1) % self.stage_count
            self.round += self.stage == 0
            return self.round, self.stage

    def new_game(self, rounds: int, choices: int) -> int:
        """Begin a game of the prediction market, as its owner would; returns its number."""
        with self.lock:
            self.market.games.append(Game(rounds=rounds, choices=choices))
            return len(self.market.games) - 1

    def next_clue(self) -> None:
        """Go on to the next clue of the newest game. ValueError when there is none."""
        with self.lock:
            game = self._open_game()
            if game.round + 1 >= game.rounds:
                raise ValueError("the game has no further clue")
            game.round += 1

    def reveal(self, choice: int) -> None:
        """Tell the answer of the newest game. ValueError for a choice that it hasn't."""
        with self.lock:
            game = self._open_game()
            if not 0 <= choice < game.choices:
                raise ValueError("the game has no such choice")
            game.status, game.answer = "revealed", choice

    def cancel(self) -> None:
        """End the newest game without an answer."""
        with self.lock:
            self._open_game().status = "abandoned"

    def _open_game(self) -> Game:
        if not self.market.games or self.market.games[-1].status != "open":
            raise ValueError("no game is open")
        return self.market.games[-1]

    def coordinator(self, account: str) -> MemoryCoordinator:
        """The chain as a node with this account sees it."""
        return MemoryCoordinator(self, account)

    def refusal_of_round(self, round: int, stage: int) -> str | None:
        """The contract's error for a reward of this round and stage, if any."""
        if round > self.round:
            return "InvalidRoundNumber"
        begun = stage < self.stage_count if round < self.round else stage <= self.stage
        return None if begun else "InvalidStageNumber"


class MemoryCoordinator:
    """Coordinator on a MemoryChain. Its writes are settled at once, so ``pending`` is always 0."""

    def __init__(self, chain: MemoryChain, account: str) -> None:
        self.account = account
        self._chain = chain
        self._transactions: list[Transaction] = []
        self.market: Market | None = MemoryMarket(
            chain.market,
            account,
            lock=chain.lock,
            is_available=lambda: chain.available,
            note=self._transactions.append,
        )

    def advance(self) -> tuple[int, int]:
        """Move the whole swarm on, as a keeper would."""
        return self._chain.advance()

    def round_and_stage(self, *, after: int | None = None) -> tuple[int, int]:
        self._require_chain()
        with self._chain.lock:
            return self._chain.round, self._chain.stage

    def bootnodes(self) -> list[str]:
        self._require_chain()
        return list(self._chain.bootnodes)

    def register(self, peer_id: str) -> None:
        with self._chain.lock:
            owner = self._chain.owners.get(peer_id)
            refusal = None
            if not peer_id:
                refusal = meaning("InvalidVoterPeerId")
            elif owner is None:
                self._chain.owners[peer_id] = self.account
            elif owner != self.account:
                refusal = someone_elses_peer(peer_id, owner, self.account)
            self._note("register", None, None, refusal)

    def submit_reward(self, *, round: int, stage: int, reward: int, peer_id: str) -> None:
        with self._chain.lock:
            refusal = self._chain.refusal_of_round(round, stage)
            if refusal is None and self._chain.owners.get(peer_id) != self.account:
                refusal = "InvalidVoterPeerId"
            if refusal is None:
                self._chain.rewards.setdefault((round, stage, peer_id), int(reward))
            self._note("reward", round, stage, refusal and meaning(refusal))

    def submit_winners(self, *, round: int, winners: Sequence[str], peer_id: str) -> None:
        if not winners:
            raise ValueError("a vote names at least one winner")
        with self._chain.lock:
            refusal = None
            if round > self._chain.round:
                refusal = "InvalidRoundNumber"
            elif self._chain.owners.get(peer_id) != self.account:
                refusal = "InvalidVoterPeerId"
            elif len(set(winners)) != len(winners):
                refusal = "InvalidVote"
            else:
                self._chain.votes.setdefault((round, peer_id), tuple(winners))
            self._note("winners", round, None, refusal and meaning(refusal))

    def peer_totals(self, peer_id: str) -> PeerTotals:
        self._require_chain()
        with self._chain.lock:
            return PeerTotals(
                registered_to=self._chain.owners.get(peer_id),
                total_reward=sum(reward for (_, _, peer), reward in self._chain.rewards.items() if peer == peer_id),
                total_wins=sum(winners.count(peer_id) for winners in self._chain.votes.values()),
            )

    def pending(self) -> int:
        return 0

    def transactions(self, limit: int = 5) -> list[Transaction]:
        with self._chain.lock:
            return self._transactions[: -limit - 1 : -1]

    def close(self, *, flush_seconds: float = 0.0) -> None:
        """Nothing is open."""

    def _require_chain(self) -> None:
        if not self._chain.available:
            raise ChainUnavailable("The chain in memory was told to be away.")

    def _note(self, kind: Kind, round: int | None, stage: int | None, refusal: str | None) -> None:
        status: Status = "confirmed" if refusal is None else "refused"
        self._transactions.append(
            Transaction(
                kind=kind, round=round, stage=stage, status=status, detail=refusal or "", hash=None, time=time.time()
            )
        )

"""What every coordinator with a contract does: reads ask the contract now, writes go to the outbox."""

from __future__ import annotations

from collections.abc import Sequence

from rgym_exp.chain.account_lock import AccountLock
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.contract_market import ContractMarket
from rgym_exp.chain.coordinator import PeerTotals
from rgym_exp.chain.held_writes import HeldWrites
from rgym_exp.chain.hub_round import HubRounds, HubSilent
from rgym_exp.chain.market import Market
from rgym_exp.chain.market_contract import MarketContract
from rgym_exp.chain.outbox import Outbox
from rgym_exp.chain.sender import Sender
from rgym_exp.chain.sending import RetryPolicy, Sending
from rgym_exp.chain.writes import Transaction


class ContractCoordinator:
    """A Coordinator out of its parts; its kinds differ in the ``sender`` and in where that has the account from."""

    def __init__(
        self,
        *,
        contract: SwarmContract,
        outbox: Outbox,
        sender: Sender,
        lock: AccountLock | None,
        retry_policy: RetryPolicy | None,
        market: MarketContract | None,
        hub: HubRounds | None = None,
    ) -> None:
        """``market`` None: the swarm has none. ``hub``: whom to ask for the round before the contract itself."""
        self.account = sender.account
        self._contract = contract
        self._hub = hub
        self._outbox = outbox
        self._held = HeldWrites(outbox)
        self._sending = Sending(outbox, sender, lock, retry_policy)
        self.market: Market | None = None
        if market is not None:
            self.market = ContractMarket(market, outbox=outbox, wake=self._sending.wake)

    def round_and_stage(self, *, after: int | None = None) -> tuple[int, int]:
        if self._hub is not None:
            try:
                told = self._hub.look(after=after)
                return told.round, told.stage
            except HubSilent:
                pass  # The chain may answer although the hub doesn't: an earlier hub's, or one of the node's own.
        return self._contract.round_and_stage()

    def bootnodes(self) -> list[str]:
        return self._contract.bootnodes()

    def register(self, peer_id: str) -> None:
        self._outbox.add("register", peer_id=peer_id, again=True)
        self._sending.wake()

    def submit_reward(self, *, round: int, stage: int, reward: int, peer_id: str) -> None:
        self._held.owe("reward", round=round, stage=stage, peer_id=peer_id, payload={"reward": int(reward)})
        self._sending.wake()

    def submit_winners(self, *, round: int, winners: Sequence[str], peer_id: str) -> None:
        if not winners:
            raise ValueError("a vote names at least one winner")
        self._held.owe("winners", round=round, peer_id=peer_id, payload={"winners": list(winners)})
        self._sending.wake()

    def peer_totals(self, peer_id: str) -> PeerTotals:
        return read_peer_totals(self._contract, peer_id)

    def pending(self) -> int:
        self._held.try_again()
        return self._outbox.pending() + len(self._held)

    def transactions(self, limit: int = 5) -> list[Transaction]:
        return self._outbox.transactions(limit)

    def close(self, *, flush_seconds: float = 0.0) -> None:
        self._held.give_up()
        if flush_seconds > 0:
            self._sending.flush(flush_seconds)
        if self._sending.close():
            self._outbox.close()


def read_peer_totals(contract: SwarmContract, peer_id: str) -> PeerTotals:
    """Any peer's totals. Raises ChainUnavailable or ChainError."""
    return PeerTotals(
        registered_to=contract.registered_to(peer_id),
        total_reward=int(contract.read("getTotalRewards", [peer_id])[0]),
        total_wins=int(contract.read("getTotalWins", peer_id)),
    )

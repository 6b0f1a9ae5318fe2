"""The prediction market on a chain: reads ask the contract now, bets and claims go to the outbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rgym_exp.chain.contract import Reverted, error_selectors
from rgym_exp.chain.coordinator import ChainError, ChainUnavailable
from rgym_exp.chain.market import Bet, GameResult, is_number, require_bet
from rgym_exp.chain.market_contract import MarketContract
from rgym_exp.chain.outbox import Outbox
from rgym_exp.chain.outbox_rows import Row
from rgym_exp.chain.sender import Retry
from rgym_exp.chain.writes import Status

FATE_UNKNOWN = (
    "it was sent, but nobody can tell whether it arrived: this market is of an earlier version, which can't be asked, "
    "and a bet isn't sent twice"
)


class ContractMarket:
    """A Market whose writes are sent as its coordinator's are: from the same outbox, by the same thread."""

    def __init__(self, contract: MarketContract, *, outbox: Outbox, wake: Callable[[], None]) -> None:
        """``wake`` tells whoever empties the outbox that there is something new."""
        self.address: str = contract.address
        self._contract = contract
        self._outbox = outbox
        self._wake = wake

    def balance(self, peer_id: str) -> int:
        # In this order: a bet that is settled between the two questions is then subtracted twice, for one moment. The
        # other way round it wouldn't be at all, and the peer would bet tokens that it hasn't.
        staked = self._outbox.open_stakes(peer_id=peer_id, contract=self.address)
        return max(0, self._contract.bet_token_balance(peer_id) - staked)

    def place_bet(self, *, game: int, clue: int, choice: int, stake: int, peer_id: str) -> bool:
        require_bet(game=game, clue=clue, choice=choice, stake=stake)
        added = self._outbox.add(
            "bet",
            round=game,
            stage=clue,
            peer_id=peer_id,
            contract=self.address,
            payload={"choice": choice, "stake": stake},
        )
        self._wake()
        return added

    def bet_on(self, *, game: int, clue: int, peer_id: str) -> Bet | None:
        if not (is_number(game) and is_number(clue)):
            return None
        row = self._outbox.find("bet", round=game, stage=clue, peer_id=peer_id, contract=self.address)
        if row is None:
            return None
        return Bet(
            game=game,
            clue=clue,
            choice=row.payload["choice"],
            stake=row.payload["stake"],
            status=row.status,
            detail=row.detail,
        )

    def claim(self, *, game: int, peer_id: str) -> None:
        if not is_number(game):
            raise ValueError(f"there is no game {game}")
        self._outbox.add("claim", round=game, peer_id=peer_id, contract=self.address, again=True)
        self._wake()

    def claim_status(self, *, game: int, peer_id: str) -> Status | None:
        if not is_number(game):
            return None
        row = self._outbox.find("claim", round=game, peer_id=peer_id, contract=self.address)
        return None if row is None else row.status

    def result(self, *, game: int, peer_id: str) -> GameResult:
        if not is_number(game):
            return GameResult(status="unknown", correct_choice=None, payout=None)
        status = self._contract.status(game)
        if status in ("unknown", "open"):
            return GameResult(status=status, correct_choice=None, payout=None)
        correct = _later_view(self._contract, "correctChoice", game) if status == "revealed" else None
        paid = _later_view(self._contract, "payout", game, peer_id)
        return GameResult(
            status=status,
            correct_choice=None if correct is None else int(correct),
            payout=None if paid is None else int(paid),
        )


class Markets:
    """The markets of one chain that rows of the outbox name, for senders: a row goes to the market that it was owed to,
    whichever the network's is now."""

    def __init__(self, rpc_url: str, *, chain_id: int | None) -> None:
        self._rpc_url = rpc_url
        self._chain_id = chain_id
        self._found: dict[str, MarketContract] = {}

    def of(self, row: Row) -> MarketContract:
        """The market of a bet or claim. Raises Retry where there is none on the chain (a transaction to an address
        without a contract succeeds, and does nothing); ChainUnavailable; ChainError for the wrong chain."""
        if row.contract not in self._found:
            market = MarketContract(self._rpc_url, row.contract, chain_id=self._chain_id)
            market.chain_id  # noqa: B018  (a wrong chain is told as such, not as a missing contract)
            if not market.ask(lambda: market.web3.eth.get_code(market.address)):
                raise Retry(f"there is no PredictionMarket at {market.address} on this chain", counted=True)
            self._found[row.contract] = market
        return self._found[row.contract]

    def is_taken(self, row: Row) -> bool | None:
        """Whether the contract has the bet or claim; None where the market is too old to be asked. Raises as ``of``."""
        market = self.of(row)
        if row.kind == "bet":
            look = market.contract.functions.hasGuessed(row.round, row.stage, row.peer_id)
        else:
            look = market.contract.functions.hasClaimed(row.round, row.peer_id)
        try:
            return bool(market.ask(look.call))
        except Reverted as refusal:
            # A refusal by name comes from a market that has the view: it knows no such game.
            return False if refusal.name in error_selectors(market.name).values() else None
        except ChainUnavailable:
            raise
        except ChainError:
            return None  # As in _later_view.


def _later_view(contract: MarketContract, function: str, *arguments: Any) -> Any | None:
    """The value of a view that earlier deployments lack; None where it gives none. Raises ChainUnavailable."""
    try:
        return contract.ask(contract.contract.functions[function](*arguments).call)
    except Reverted:
        return None
    except ChainUnavailable:
        raise
    except ChainError:
        # An answer without content: a fallback function took the call in place of a view that isn't there.
        return None

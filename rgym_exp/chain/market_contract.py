"""The PredictionMarket over JSON-RPC."""

from __future__ import annotations

from rgym_exp.chain.contract import DeployedContract
from rgym_exp.chain.market import GameStatus

STATUSES: tuple[GameStatus, ...] = ("unknown", "open", "revealed", "abandoned")
"""In the order of the contract's ``GameStatus``."""


class MarketContract(DeployedContract):
    """One PredictionMarket at one RPC. Every method asks the chain; raises ChainUnavailable or ChainError."""

    name = "PredictionMarket"
    setting = "network.prg_address"

    def coordinator(self) -> str:
        """The SwarmCoordinator that says whose peer is whose, 0x-hex with checksum."""
        return str(self.read("coordinator"))

    def owner(self) -> str:
        """Who runs the games, 0x-hex with checksum."""
        return str(self.read("owner"))

    def bet_token_balance(self, peer_id: str) -> int:
        """What the peer may bet in the newest game, in 10^-18 tokens; 0 for a peer that nobody registered."""
        return int(self.read("betTokenBalance", peer_id))

    def game_count(self) -> int:
        """How many games there have been: the newest is one less."""
        return int(self.read("gameCount"))

    def status(self, game: int) -> GameStatus:
        """How a game stands; unknown where there is none."""
        index = int(self.read("gameStatus", game))
        # A later market may know more; to us such a game is one that we can do nothing with.
        return STATUSES[index] if index < len(STATUSES) else "unknown"

    def current_round(self, game: int) -> int:
        """The clue that is out, counted from 0. ChainError where there is no such game."""
        return int(self.read("currentRoundIdx", game))

"""The prediction market's rules in this process, for tests and for swarms simulated on one machine.

``tests/unit/chain/test_market.py`` plays the same script here and on a real chain and compares. What comes from time
alone (a game that its owner left) isn't played here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock

from rgym_exp.chain.coordinator import ChainUnavailable
from rgym_exp.chain.market import ONE_TOKEN, Bet, GameResult, GameStatus, is_number, require_bet
from rgym_exp.chain.verdict import is_settled_for_owner, meaning, settled_detail
from rgym_exp.chain.writes import Kind, Status, Transaction

WELCOME = 100 * ONE_TOKEN
ALLOWANCE = 10 * ONE_TOKEN
ADDRESS = "0x" + 40 * "0"


@dataclass(kw_only=True)
class Game:
    """One game, as the contract keeps it."""

    rounds: int
    choices: int
    status: GameStatus = "open"
    round: int = 0
    answer: int | None = None
    bets: Counter[tuple[str, int]] = field(default_factory=Counter)
    """What each peer has bet on each choice."""
    tokens: Counter[tuple[str, int]] = field(default_factory=Counter)
    """What that has bought, in choice tokens of 18 decimals."""
    guessed: set[tuple[str, int]] = field(default_factory=set)
    """Peer and round."""
    claimed: set[str] = field(default_factory=set)

    def bets_of(self, peer_id: str) -> int:
        return sum(bet for (peer, _), bet in self.bets.items() if peer == peer_id)

    def payout(self, peer_id: str) -> int:
        """What a claim pays once the game is over. The formula is that of IPredictionMarket.sol."""
        answer = self.answer
        supply = sum(tokens for (_, choice), tokens in self.tokens.items() if choice == answer)
        if answer is None or supply == 0:
            return self.bets_of(peer_id)
        lost = sum(bet for (_, choice), bet in self.bets.items() if choice != answer)
        return self.bets[peer_id, answer] + self.tokens[peer_id, answer] * lost // supply


class MemoryGames:
    """What the market's contract would keep. Whoever calls holds the chain's lock."""

    def __init__(self, owners: dict[str, str]) -> None:
        """``owners``: account by peer id, as the coordinator's contract keeps them."""
        self._owners = owners
        self._balances: dict[str, int] = {}
        self.games: list[Game] = []

    def balance(self, peer_id: str) -> int:
        return (
            self._balances.get(peer_id, 0) + self._due(len(self.games) - 1, peer_id) if peer_id in self._owners else 0
        )

    def refusal_of_bet(
        self, account: str, *, game: int, clue: int, choice: int, stake: int, peer_id: str
    ) -> str | None:
        """Make the bet; or the name of the contract's error, and nothing has changed."""
        if game >= len(self.games):
            return "GameNotFound"
        played = self.games[game]
        tokens = stake // (clue + 1)
        balance = self._balances.get(peer_id, 0) + self._due(game, peer_id)
        refusals = {
            "NotPeerOwner": self._owners.get(peer_id) != account,
            "AlreadyGuessed": (peer_id, clue) in played.guessed,
            "GameNotOpen": played.status != "open",
            "InvalidRound": clue != played.round,
            "InvalidChoice": choice >= played.choices,
            "InvalidBet": tokens == 0,
            "InsufficientBalance": stake > balance,
        }
        refusal = next((name for name, holds in refusals.items() if holds), None)
        if refusal is None:
            self._balances[peer_id] = balance - stake
            played.bets[peer_id, choice] += stake
            played.tokens[peer_id, choice] += tokens
            played.guessed.add((peer_id, clue))
        return refusal

    def refusal_of_claim(self, account: str, *, game: int, peer_id: str) -> str | None:
        """Pay the claim; or the name of the contract's error, and nothing has changed."""
        if game >= len(self.games):
            return "GameNotFound"
        played = self.games[game]
        refusals = {
            "NotPeerOwner": self._owners.get(peer_id) != account,
            "AlreadyClaimed": peer_id in played.claimed,
            "GameStillOpen": played.status == "open",
            "NothingToClaim": played.payout(peer_id) == 0,
        }
        refusal = next((name for name, holds in refusals.items() if holds), None)
        if refusal is None:
            self._balances[peer_id] += played.payout(peer_id)
            played.claimed.add(peer_id)
        return refusal

    def _due(self, game: int, peer_id: str) -> int:
        """What the peer's next bet brings it, if that is one in ``game``."""
        if peer_id not in self._balances:
            return WELCOME
        is_in_it = self.games[game].bets_of(peer_id) > 0
        if game + 1 != len(self.games) or is_in_it:
            return 0
        return max(0, ALLOWANCE - self._balances[peer_id])


class MemoryMarket:
    """Market on a MemoryChain, for one account. Its writes are settled at once."""

    address = ADDRESS

    def __init__(
        self,
        games: MemoryGames,
        account: str,
        *,
        lock: RLock,
        is_available: Callable[[], bool],
        note: Callable[[Transaction], None],
    ) -> None:
        """``note`` is told of every write."""
        self._games = games
        self._account = account
        self._lock = lock
        self._is_available = is_available
        self._note = note
        self._bets: dict[tuple[str, int, int], Bet] = {}
        self._claims: dict[tuple[str, int], Status] = {}

    def balance(self, peer_id: str) -> int:
        self._require_chain()
        with self._lock:
            return self._games.balance(peer_id)

    def place_bet(self, *, game: int, clue: int, choice: int, stake: int, peer_id: str) -> bool:
        require_bet(game=game, clue=clue, choice=choice, stake=stake)
        with self._lock:
            if (peer_id, game, clue) in self._bets:
                return False
            refusal = self._games.refusal_of_bet(
                self._account, game=game, clue=clue, choice=choice, stake=stake, peer_id=peer_id
            )
            status, detail = self._settle("bet", game, clue, refusal)
            self._bets[peer_id, game, clue] = Bet(
                game=game, clue=clue, choice=choice, stake=stake, status=status, detail=detail
            )
            return True

    def bet_on(self, *, game: int, clue: int, peer_id: str) -> Bet | None:
        with self._lock:
            return self._bets.get((peer_id, game, clue))

    def claim(self, *, game: int, peer_id: str) -> None:
        if not is_number(game):
            raise ValueError(f"there is no game {game}")
        with self._lock:
            if self._claims.get((peer_id, game)) != "confirmed":
                refusal = self._games.refusal_of_claim(self._account, game=game, peer_id=peer_id)
                self._claims[peer_id, game], _ = self._settle("claim", game, None, refusal)

    def claim_status(self, *, game: int, peer_id: str) -> Status | None:
        with self._lock:
            return self._claims.get((peer_id, game))

    def result(self, *, game: int, peer_id: str) -> GameResult:
        self._require_chain()
        with self._lock:
            if not is_number(game) or game >= len(self._games.games):
                return GameResult(status="unknown", correct_choice=None, payout=None)
            played = self._games.games[game]
            over = played.status != "open"
            return GameResult(
                status=played.status, correct_choice=played.answer, payout=played.payout(peer_id) if over else None
            )

    def _settle(self, kind: Kind, game: int, clue: int | None, refusal: str | None) -> tuple[Status, str]:
        status: Status = "confirmed"
        detail = ""
        if refusal is not None and is_settled_for_owner(refusal):
            detail = settled_detail(refusal)
        elif refusal is not None:
            status, detail = "refused", meaning(refusal)
        self._note(
            Transaction(kind=kind, round=game, stage=clue, status=status, detail=detail, hash=None, time=time.time())
        )
        return status, detail

    def _require_chain(self) -> None:
        if not self._is_available():
            raise ChainUnavailable("The chain in memory was told to be away.")

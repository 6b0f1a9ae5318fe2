"""Random play at a real market, beside a reckoning of our own: every refusal, balance and payout is as reckoned, and no
token comes or goes but by the rules.

The reckoning keeps the plain list of bets and adds it up anew each time, with fractions, so that it shares neither
state nor arithmetic with the contract.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, TypeVar

import pytest

from rgym_exp.chain.devnet import Devnet
from rgym_exp.chain.market_contract import STATUSES
from tests.support.market_table import DAY, TOKEN, MarketTable, account_of

HOUR = 60 * 60
ACCOUNTS = {"A": "anna", "B": "ben", "B2": "ben", "C": "carl"}
"""Peers and whose they are; D is nobody's."""
PEERS = (*ACCOUNTS, "D")
# No sum of them is a day, so the seconds that a test takes don't matter.
WAITS = (7 * HOUR, 11 * HOUR, 25 * HOUR)

MOST = 2**256 - 1
REFUSALS = {
    *("AlreadyClaimed", "AlreadyGuessed", "GameNotFound", "GameNotOpen", "GameStillOpen", "InsufficientBalance"),
    *("InvalidBet", "InvalidChoice", "InvalidGame", "InvalidRound", "NotPeerOwner", "NothingToClaim"),
}

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Placed:
    peer: str
    round: int
    choice: int
    bet: int

    @property
    def tokens(self) -> int:
        return self.bet // (self.round + 1)


@dataclass(kw_only=True)
class Game:
    rounds: int
    choices: int
    acted_at: int
    """The chain's clock in these tests: seconds waited for."""
    round: int = 0
    ended: Literal["revealed", "cancelled"] | None = None
    answer: int = -1
    bets: list[Placed] = field(default_factory=list)
    claimed: dict[str, int] = field(default_factory=dict)

    def status(self, now: int) -> str:
        if self.ended is not None:
            return "revealed" if self.ended == "revealed" else "abandoned"
        return "abandoned" if now - self.acted_at >= DAY else "open"

    def payout(self, peer: str) -> int:
        """Of a game that is over."""
        winning = [placed for placed in self.bets if self.ended == "revealed" and placed.choice == self.answer]
        if not winning:
            return sum(placed.bet for placed in self.bets if placed.peer == peer)
        lost = sum(placed.bet for placed in self.bets) - sum(placed.bet for placed in winning)
        own = [placed for placed in winning if placed.peer == peer]
        share = Fraction(sum(placed.tokens for placed in own), sum(placed.tokens for placed in winning))
        return sum(placed.bet for placed in own) + int(share * lost)

    def held(self) -> int:
        return sum(placed.bet for placed in self.bets) - sum(self.claimed.values())


class Play:
    """Peers bet and claim, rightly and wrongly, while the owner runs games, or goes away."""

    def __init__(self, devnet: Devnet, seed: int) -> None:
        self.table = MarketTable(devnet)
        for peer, owner in ACCOUNTS.items():
            self.table.register(peer, account=account_of(owner))
        self.random = random.Random(seed)
        self.now = 0
        self.games: list[Game] = []
        self.balances: dict[str, int] = {}
        """Of the peers that were welcomed."""
        self.issued = 0
        self.met: Counter[str] = Counter()
        """What happened, so that a test can tell whether the play was worth anything."""

    # ------------------------------------------------------------------------------------------------------- reckoning

    def due(self, peer: str, game: int) -> int:
        if peer not in ACCOUNTS:
            return 0
        if peer not in self.balances:
            return 100 * TOKEN
        newest = bool(self.games) and game == len(self.games) - 1
        if not newest or any(placed.peer == peer for placed in self.games[game].bets):
            return 0
        return max(0, 10 * TOKEN - self.balances[peer])

    def to_bet(self, peer: str, game: int) -> int:
        return self.balances.get(peer, 0) + self.due(peer, game)

    def expected_of_bet(self, index: int, account: str, placed: Placed) -> str | None:
        if index >= len(self.games):
            return "GameNotFound"
        game = self.games[index]
        if ACCOUNTS.get(placed.peer) != account:
            return "NotPeerOwner"
        if any((made.peer, made.round) == (placed.peer, placed.round) for made in game.bets):
            return "AlreadyGuessed"
        if game.status(self.now) != "open":
            return "GameNotOpen"
        if placed.round != game.round:
            return "InvalidRound"
        if placed.choice >= game.choices:
            return "InvalidChoice"
        if placed.tokens == 0:
            return "InvalidBet"
        return "InsufficientBalance" if placed.bet > self.to_bet(placed.peer, index) else None

    def expected_of_claim(self, index: int, account: str, peer: str) -> str | None:
        if index >= len(self.games):
            return "GameNotFound"
        game = self.games[index]
        if ACCOUNTS.get(peer) != account:
            return "NotPeerOwner"
        if peer in game.claimed:
            return "AlreadyClaimed"
        if game.status(self.now) == "open":
            return "GameStillOpen"
        return "NothingToClaim" if game.payout(peer) == 0 else None

    # --------------------------------------------------------------------------------------------------------- actions

    def act(self) -> None:
        """Something random. Most of it makes sense, so that games come to something."""
        is_open = bool(self.games) and self.games[-1].status(self.now) == "open"
        actions = [self.bet, self.claim, self.next_clue, self.reveal, self.cancel, self.new_game, self.wait]
        (action,) = self.random.choices(actions, weights=[55, 12, 12, 5, 1, 3 if is_open else 40, 1])
        action()

    def new_game(self) -> None:
        rounds, choices = self._mostly(self._among(1, 3, 4), 0), self._mostly(self._among(2, 3), 1)
        refused = "InvalidGame" if rounds < 1 or choices < 2 else None
        if self._happens(self.table.owner, refused, "createNewGame", rounds, choices, 32 * b"\1"):
            self.games.append(Game(rounds=rounds, choices=choices, acted_at=self.now))

    def bet(self) -> None:
        index, peer = self._some_game(), self._mostly(self._among(*ACCOUNTS), "D")
        known = self.games[index] if index < len(self.games) else None
        have = self.to_bet(peer, index)
        placed = Placed(
            peer=peer,
            round=self._mostly(known.round if known else 0, self._among(0, 1, 64, 300)),
            choice=self._mostly(self._among(0, 1), 2),
            bet=self._mostly(
                self._among(self.random.randint(1, 30 * TOKEN), have // 2, have // 3, 7),
                self._among(0, 1, have, have + 1, MOST),
            ),
        )
        account = self._mostly(ACCOUNTS.get(peer, "dora"), "carl")
        refused = self.expected_of_bet(index, account, placed)
        arguments = (index, peer, placed.round, placed.choice, placed.bet)
        if self._happens(account_of(account), refused, "guessAnswer", *arguments):
            due = self.due(peer, index)
            self.met["allowance"] += 0 < due < 100 * TOKEN
            self.issued += due
            self.balances[peer] = self.balances.get(peer, 0) + due - placed.bet
            self.games[index].bets.append(placed)

    def claim(self) -> None:
        peer = self._mostly(self._among(*ACCOUNTS), "D")
        self._claim(self._some_game(), self._mostly(ACCOUNTS.get(peer, "dora"), "carl"), peer)

    def next_clue(self) -> None:
        index = self._some_game()
        refused = self._refusal_of_owner(index)
        if refused is None and self.games[index].round + 1 == self.games[index].rounds:
            refused = "InvalidRound"
        if self._happens(self.table.owner, refused, "incrementRound", index):
            self.games[index].round += 1
            self.games[index].acted_at = self.now

    def reveal(self) -> None:
        self._reveal(self._some_game(), self._mostly(self._among(0, 1), 2))

    def cancel(self) -> None:
        index = self._some_game()
        if self._happens(self.table.owner, self._refusal_of_owner(index), "cancelGame", index):
            self.games[index].ended = "cancelled"

    def wait(self) -> None:
        seconds = self._among(*WAITS)
        self.table.wait(seconds)
        self.now += seconds

    # ------------------------------------------------------------------------------------------------------ invariants

    def every_token_is_accounted_for(self) -> None:
        all_games, newest = range(len(self.games)), len(self.games) - 1
        held = self.table.reads(*(("tokensHeld", index) for index in all_games))
        assert held == [game.held() for game in self.games]
        issued, *balances = self.table.reads(("totalIssued",), *(("betTokenBalance", peer) for peer in PEERS))
        assert balances == [self.to_bet(peer, newest) for peer in PEERS]
        due = [self.due(peer, newest) for peer in PEERS]
        assert issued == self.issued == sum(balances) - sum(due) + sum(held)
        stati = self.table.reads(*(("gameStatus", index) for index in all_games))
        assert [STATUSES[status] for status in stati] == [game.status(self.now) for game in self.games]

    def everybody_claims_everything(self) -> None:
        """Nobody gets more than was bet, and what rounding leaves behind is next to nothing."""
        for index, game in enumerate(self.games):
            if game.status(self.now) == "open":
                self._reveal(index, 0)
            for peer, owner in ACCOUNTS.items():
                self._claim(index, owner, peer)
            assert 0 <= game.held() < len(ACCOUNTS)
            self.met["rounding"] += game.held() > 0
        self.every_token_is_accounted_for()

    # --------------------------------------------------------------------------------------------------------- private

    def _claim(self, index: int, account: str, peer: str) -> None:
        refused = self.expected_of_claim(index, account, peer)
        if self._happens(account_of(account), refused, "claimReward", index, peer):
            game = self.games[index]
            paid = game.payout(peer)
            assert self.table.reads(("payout", index, peer)) == [paid]
            bet = sum(placed.bet for placed in game.bets if placed.peer == peer)
            self.met["gain" if paid > bet else "loss" if paid < bet else "refund"] += 1
            game.claimed[peer] = paid
            self.balances[peer] += paid

    def _reveal(self, index: int, answer: int) -> None:
        refused = self._refusal_of_owner(index)
        if refused is None and answer >= self.games[index].choices:
            refused = "InvalidChoice"
        if self._happens(self.table.owner, refused, "revealAnswer", index, answer, 0):
            self.games[index].ended, self.games[index].answer = "revealed", answer

    def _happens(self, account: str, expected: str | None, function: str, *arguments: Any) -> bool:
        """Do it, and see it refused as expected or not at all."""
        assert self.table.refusal(account, function, *arguments) == expected, (function, arguments)
        self.met[expected or function] += 1
        return expected is None

    def _refusal_of_owner(self, index: int) -> str | None:
        if index >= len(self.games):
            return "GameNotFound"
        return None if self.games[index].status(self.now) == "open" else "GameNotOpen"

    def _some_game(self) -> int:
        """Mostly the newest; at times an older one, or one that isn't there."""
        return max(0, len(self.games) - self.random.choices([1, 2, 3, 0], weights=[70, 17, 10, 3])[0])

    def _among(self, *things: _T) -> _T:
        return self.random.choice(things)

    def _mostly(self, usual: _T, odd: _T) -> _T:
        return odd if self.random.random() < 0.06 else usual


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """A chain of this file's own, because its clock is put forward."""
    with Devnet.start(tmp_path_factory.mktemp("play-devnet")) as running:
        yield running


def test_in_random_play_every_token_is_accounted_for(devnet):
    met: Counter[str] = Counter()
    for seed in range(4):
        play = Play(devnet, seed)
        for _ in range(150):
            play.act()
            play.every_token_is_accounted_for()
        play.everybody_claims_everything()
        met += play.met
    assert {"gain", "loss", "refund", "rounding", "allowance"} <= set(met)
    assert set(met) >= REFUSALS


def test_the_same_bet_earns_more_the_earlier_it_is_made(devnet):
    table = MarketTable(devnet)
    peers = [f"P{clue}" for clue in range(5)]
    table.register("loser", *peers)
    game = table.new_game(rounds=5, choices=2)
    table.bet(game, "loser", choice=1, bet=100 * TOKEN)
    for clue, peer in enumerate(peers):
        if clue:
            table.next_clue(game)
        table.bet(game, peer, round=clue, choice=0, bet=20 * TOKEN)
    table.reveal(game, 0)
    paid = [table.claim(game, peer) for peer in peers]
    assert paid == sorted(set(paid), reverse=True)
    # Tokens: 20, 10, 6.67, 5, 4 of 45.67.
    tokens = [20 * TOKEN // (clue + 1) for clue in range(5)]
    assert paid == [20 * TOKEN + 100 * TOKEN * own // sum(tokens) for own in tokens]

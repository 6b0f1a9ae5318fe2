"""Random play at a real market, beside a reckoning of our own: every refusal, balance and payout is as reckoned, and no
token comes or goes but by the rules.

The reckoning keeps the plain list of bets and adds it up anew each time, with fractions, so that it shares neither
state nor arithmetic with the contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rgym_exp.chain.devnet import Devnet
from rgym_exp.chain.market_contract import STATUSES
from tests.support.market_table import DAY, TOKEN, MarketTable, account_of

HOUR = 60 * 60
ACCOUNTS = {"A": "anna", "B": "ben", "B2": "ben", "C": "carl"}
"""Peers and whose they are; D is nobody's."""
PEERS = (*ACCOUNTS, "D")
# No sum of them is a day, so the seconds that a test takes don't matter.
WAITS = (7 * HOUR, 11 * HOUR, 25 * HOUR)

BETS = st.one_of(
    st.sampled_from(["nothing", "one", "few", "half", "all", "too much", "far too much"]),
    st.integers(1, 30 * TOKEN),
)


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


class Play(RuleBasedStateMachine):
    """Peers bet and claim, rightly and wrongly, while the owner runs games, or goes away."""

    devnet: Devnet

    @initialize()
    def sit_down(self) -> None:
        self.table = MarketTable(self.devnet)
        for peer, owner in ACCOUNTS.items():
            self.table.register(peer, account=account_of(owner))
        self.now = 0
        self.games: list[Game] = []
        self.balances: dict[str, int] = {}
        """Of the peers that were welcomed."""
        self.issued = 0

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

    # ----------------------------------------------------------------------------------------------------------- rules

    @rule(rounds=st.integers(0, 4), choices=st.integers(1, 3))
    def new_game(self, rounds: int, choices: int) -> None:
        refused = self.table.refusal(self.table.owner, "createNewGame", rounds, choices, 32 * b"\1")
        assert refused == ("InvalidGame" if rounds < 1 or choices < 2 else None)
        if refused is None:
            self.games.append(Game(rounds=rounds, choices=choices, acted_at=self.now))

    @rule(
        peer=st.sampled_from(PEERS),
        in_others_name=st.sampled_from([False] * 9 + [True]),
        games_ago=st.sampled_from([0] * 6 + [1, 2, -1]),
        rounds_off=st.sampled_from([0] * 9 + [1, 300]),
        choice=st.sampled_from([0, 0, 1, 1, 2]),
        bet=BETS,
    )
    def bet(
        self, peer: str, in_others_name: bool, games_ago: int, rounds_off: int, choice: int, bet: str | int
    ) -> None:
        index = max(0, len(self.games) - 1 - games_ago)
        round = (self.games[index].round if index < len(self.games) else 0) + rounds_off
        account = "nobody in particular" if in_others_name else ACCOUNTS.get(peer, "dora")
        placed = Placed(peer=peer, round=round, choice=choice, bet=self._amount(bet, self.to_bet(peer, index)))
        arguments = (index, peer, round, choice, placed.bet)
        expected = self.expected_of_bet(index, account, placed)
        assert self.table.refusal(account_of(account), "guessAnswer", *arguments) == expected
        if expected is None:
            due = self.due(peer, index)
            self.issued += due
            self.balances[peer] = self.balances.get(peer, 0) + due - placed.bet
            self.games[index].bets.append(placed)

    @rule(
        peer=st.sampled_from(PEERS), by=st.sampled_from(["anna", "ben", "carl", "dora"]), games_ago=st.integers(-1, 4)
    )
    def claim(self, peer: str, by: str, games_ago: int) -> None:
        self._claim(max(0, len(self.games) - 1 - games_ago), by, peer)

    @rule(games_ago=st.sampled_from([0, 0, 0, 1, -1]))
    def next_clue(self, games_ago: int) -> None:
        index = max(0, len(self.games) - 1 - games_ago)
        expected = self._refusal_of_owner(index)
        if expected is None and self.games[index].round + 1 == self.games[index].rounds:
            expected = "InvalidRound"
        assert self.table.refusal(self.table.owner, "incrementRound", index) == expected
        if expected is None:
            self.games[index].round += 1
            self.games[index].acted_at = self.now

    @rule(games_ago=st.sampled_from([0, 0, 1, 2, -1]), answer=st.integers(0, 2))
    def reveal(self, games_ago: int, answer: int) -> None:
        index = max(0, len(self.games) - 1 - games_ago)
        expected = self._refusal_of_owner(index)
        if expected is None and answer >= self.games[index].choices:
            expected = "InvalidChoice"
        assert self.table.refusal(self.table.owner, "revealAnswer", index, answer, 0) == expected
        if expected is None:
            self.games[index].ended, self.games[index].answer = "revealed", answer

    @rule(games_ago=st.sampled_from([0, 1, 2]))
    def cancel(self, games_ago: int) -> None:
        index = max(0, len(self.games) - 1 - games_ago)
        expected = self._refusal_of_owner(index)
        assert self.table.refusal(self.table.owner, "cancelGame", index) == expected
        if expected is None:
            self.games[index].ended = "cancelled"

    @rule(seconds=st.sampled_from(WAITS))
    def wait(self, seconds: int) -> None:
        self.table.wait(seconds)
        self.now += seconds

    # ------------------------------------------------------------------------------------------------------ invariants

    @invariant()
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

    def teardown(self) -> None:
        """Everybody claims everything: no more than was bet, and what rounding leaves behind is next to nothing."""
        if not hasattr(self, "table"):
            return
        for index, game in enumerate(self.games):
            if game.status(self.now) == "open":
                self.reveal(len(self.games) - 1 - index, 0)
            for peer, owner in ACCOUNTS.items():
                self._claim(index, owner, peer)
            assert 0 <= game.held() < len(ACCOUNTS)
        self.every_token_is_accounted_for()

    # --------------------------------------------------------------------------------------------------------- private

    def _claim(self, index: int, account: str, peer: str) -> None:
        expected = self.expected_of_claim(index, account, peer)
        assert self.table.refusal(account_of(account), "claimReward", index, peer) == expected
        if expected is None:
            game = self.games[index]
            paid = game.payout(peer)
            assert self.table.reads(("payout", index, peer)) == [paid]
            game.claimed[peer] = paid
            self.balances[peer] += paid

    def _refusal_of_owner(self, index: int) -> str | None:
        if index >= len(self.games):
            return "GameNotFound"
        return None if self.games[index].status(self.now) == "open" else "GameNotOpen"

    @staticmethod
    def _amount(bet: str | int, have: int) -> int:
        amounts = {"nothing": 0, "one": 1, "few": 7, "half": have // 2, "all": have, "too much": have + 1}
        return bet if isinstance(bet, int) else amounts.get(bet, 2**256 - 1)


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """A chain of this file's own, because its clock is put forward."""
    with Devnet.start(tmp_path_factory.mktemp("play-devnet")) as running:
        yield running


def test_in_random_play_every_token_is_accounted_for(devnet):
    class PlayHere(Play):
        pass

    PlayHere.devnet = devnet
    run_state_machine_as_test(
        PlayHere,
        settings=settings(
            max_examples=12, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


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

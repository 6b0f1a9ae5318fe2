"""The player of the prediction market, in games with the contract's rules, and in everything that can go wrong."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rgym_exp.chain.coordinator import ChainError, ChainUnavailable
from rgym_exp.chain.market import ONE_TOKEN, Bet, GameResult
from rgym_exp.judge.judge import Clue, JudgeAway
from rgym_exp.judge.prg_files import PlacedBet, PlayedGame
from rgym_exp.node.prediction import MarketPlayer
from rgym_exp.node.prediction_lines import bet_line, outcome_line, tokens
from rgym_exp.training.policy import Chat
from simulation.memory_chain import MemoryChain
from simulation.memory_judge import MemoryJudge

CHOICES = ("red", "blue")


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was warned of; other tests decide whether lesser lines are captured as well."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class Scores:
    """A policy that finds one choice likelier than the others, and can do nothing else."""

    model_name = "scores"

    def __init__(self, favourite: str) -> None:
        self.favourite = favourite
        self.asked = 0
        self.failure: BaseException | None = None
        self.answer: list[float] | None = None
        """What to say instead of one score for each answer."""

    def score_answers(self, prompt: Chat, answers: Sequence[str]) -> list[float]:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        if self.answer is not None:
            return self.answer
        return [-1.2 if answer == f"<answer>{self.favourite}</answer>" else -2.31 for answer in answers]

    def complete(self, *_: Any) -> Any:
        raise AssertionError("a player samples nothing")

    greedy = complete


class Wrong:
    """Somebody real in whose place some methods do something else."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole
        self.instead: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return self.instead.get(name) or getattr(self._whole, name)


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


class Table:
    """A game in memory and whoever plays it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chain = MemoryChain()
        self.judge = MemoryJudge()
        self.now = 0.0
        """The players' clock, seconds."""
        self.players: list[MarketPlayer] = []
        self._markets: dict[str, Wrong] = {}

    def market(self, peer_id: str) -> Wrong:
        """The chain as this peer sees it, outbox included; the same one for all its players."""
        if peer_id not in self._markets:
            coordinator = self.chain.coordinator(f"0x{peer_id}")
            coordinator.register(peer_id)
            self._markets[peer_id] = Wrong(coordinator.market)
        return self._markets[peer_id]

    def player(self, peer_id: str = "A", *, judge: Any = None) -> MarketPlayer:
        """A new player, as a node makes one at its start, over the files that are there."""
        player = MarketPlayer(
            judge=judge or self.judge,
            market=self.market(peer_id),
            peer_id=peer_id,
            state_file=self.state_file(peer_id),
            record_file=self.folder / f"{peer_id}.txt",
            clock=lambda: self.now,
        )
        self.players.append(player)
        return player

    def state_file(self, peer_id: str = "A") -> Path:
        return self.folder / f"{peer_id}.json"

    def show(self, game: int, clue: int, *, remaining: int, choices: tuple[str, ...] = CHOICES) -> None:
        self.judge.clue = Clue(game=game, clue=clue, rounds_remaining=remaining, text="Which?", choices=choices)

    def new_game(self, *, rounds: int = 3, choices: tuple[str, ...] = CHOICES) -> int:
        game = self.chain.new_game(rounds, len(choices))
        self.show(game, 0, remaining=rounds - 1, choices=choices)
        return game

    def next_clue(self) -> None:
        assert self.judge.clue is not None
        self.chain.next_clue()
        clue = self.judge.clue
        self.show(clue.game, clue.clue + 1, remaining=clue.rounds_remaining - 1, choices=clue.choices)

    def end(self, answer: int) -> None:
        self.chain.reveal(answer)
        self.judge.clue = None

    def lines(self, event: str = "", peer_id: str = "A") -> list[str]:
        """The record without its times; of one kind of event, then without that word, or all."""
        path = self.folder / f"{peer_id}.txt"
        found = [line.split(maxsplit=2)[1:] for line in path.read_text().splitlines()] if path.exists() else []
        return [rest if event else f"{word} {rest}" for word, rest in found if event in ("", word)]

    def bets(self, peer_id: str = "A") -> list[Bet]:
        """All of the outbox."""
        market = self.market(peer_id)
        found = [
            market.bet_on(game=game, clue=clue, peer_id=peer_id)
            for game in range(len(self.chain.market.games))
            for clue in range(5)
        ]
        return [bet for bet in found if bet is not None]


def ask(player: MarketPlayer) -> None:
    """A round begins, and what it asks for arrives."""
    player.begin()
    if player._looking is not None:
        assert wait([player._looking], timeout=20).done


def play(player: MarketPlayer, policy: Any, *, rounds: int = 1) -> None:
    """Whole rounds, in which everything arrives in time."""
    for _ in range(rounds):
        ask(player)
        player.play(policy)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    table = Table(tmp_path)
    yield table
    for player in table.players:
        player.close()


# ---- a game as it should be


def test_a_clue_is_bet_on_once_with_an_equal_part_of_the_balance(table: Table) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    play(player, policy, rounds=3)
    (bet,) = table.bets()
    assert (bet.choice, bet.stake, bet.status) == (0, 25 * ONE_TOKEN, "confirmed")
    assert table.lines() == ['bet game 0 clue 0: "red" for 25 of 100 tokens (log-probs red -1.20, blue -2.31)']
    assert policy.asked == 1
    assert player.bet_tokens == 75


def test_every_clue_is_bet_on_until_nothing_is_left(table: Table) -> None:
    table.new_game(rounds=4)
    player, policy = table.player(), Scores("red")
    for _ in range(3):
        play(player, policy)
        table.next_clue()
    play(player, policy)
    # 100 / 3 remaining clues, then half of the rest, then all of it, then nothing.
    third = 100 * ONE_TOKEN // 3
    half = (100 * ONE_TOKEN - third) // 2
    assert [bet.stake for bet in table.bets()] == [third, half, 100 * ONE_TOKEN - third - half]
    assert policy.asked == 3


def test_two_players_on_different_choices_play_a_whole_game(table: Table) -> None:
    game = table.new_game(rounds=3)
    policies = {"A": Scores("red"), "B": Scores("blue")}
    players = {peer_id: table.player(peer_id) for peer_id in policies}
    for clue in range(3):
        for peer_id, player in players.items():
            play(player, policies[peer_id], rounds=2)
        # B comes to think as A does.
        policies["B"].favourite = "red"
        if clue < 2:
            table.next_clue()
    table.end(answer=0)
    for peer_id, player in players.items():
        play(player, policies[peer_id], rounds=3)
    # A bet 50 at price 1 and 50 at price 2 on red: 75 tokens. B bet 50 on blue, then 50 at price 2 on red: 25 tokens.
    # A gets 100 + 50 x 75 / 100 = 137.5 and B 50 + 50 x 25 / 100 = 62.5.
    assert table.lines() == [
        'bet game 0 clue 0: "red" for 50 of 100 tokens (log-probs red -1.20, blue -2.31)',
        'bet game 0 clue 1: "red" for 50 of 50 tokens (log-probs red -1.20, blue -2.31)',
        f"claim game {game}",
        'outcome game 0: won 37.5 tokens on "red" (137.5 paid for 100)',
    ]
    assert table.lines("outcome", "B") == [
        'game 0: lost 37.5 tokens in all, although the answer was "red" (62.5 paid for 100)'
    ]
    assert [players[peer_id].bet_tokens for peer_id in "AB"] == [137.5, 62.5]


def test_who_never_bet_on_the_answer_has_lost(table: Table) -> None:
    table.new_game(rounds=5)
    loser, winner = table.player("A"), table.player("B")
    play(loser, Scores("blue"))
    play(winner, Scores("red"))
    table.end(answer=0)
    play(loser, Scores("blue"), rounds=3)
    assert table.lines("outcome") == ['game 0: lost 25 tokens: the answer was "red"']


def test_a_game_without_an_answer_is_refunded(table: Table) -> None:
    table.new_game(rounds=5)
    player = table.player()
    play(player, Scores("red"))
    table.chain.cancel()
    table.judge.clue = None
    play(player, Scores("red"), rounds=3)
    assert table.lines("outcome") == ["game 0: refunded 25 tokens, as it ended without an answer"]
    assert player.bet_tokens == 100


def test_the_last_game_is_claimed_when_a_new_one_runs(table: Table) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    play(player, policy)
    table.end(answer=0)
    table.new_game(rounds=5)
    play(player, policy, rounds=3)
    assert [line.split(":")[0] for line in table.lines()] == [
        "bet game 0 clue 0",
        "claim game 0",
        # 18 tokens of the 75: what the claim pays is not there yet.
        "bet game 1 clue 0",
        "outcome game 0",
    ]


def test_a_game_that_is_over_on_the_contract_is_claimed_though_the_judge_is_away(table: Table) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    play(player, policy)
    table.end(answer=0)
    table.judge.away = "gone"
    play(player, policy, rounds=3)
    assert len(table.lines("outcome")) == 1


def test_nothing_is_claimed_while_the_game_runs(table: Table) -> None:
    table.new_game(rounds=5)
    player = table.player()
    play(player, Scores("red"), rounds=4)
    assert table.market("A").claim_status(game=0, peer_id="A") is None


def test_without_a_game_nothing_is_bet_and_the_balance_is_known(table: Table) -> None:
    player, policy = table.player(), Scores("red")
    assert player.bet_tokens is None
    play(player, policy)
    assert (table.lines(), policy.asked, player.bet_tokens) == ([], 0, 100.0)


def test_with_nothing_to_stake_the_model_is_not_asked(table: Table) -> None:
    table.new_game(rounds=2)
    player, policy = table.player(), Scores("red")
    play(player, policy)
    table.next_clue()
    play(player, policy)
    assert (len(table.bets()), policy.asked, player.bet_tokens) == (1, 1, 0.0)


def test_a_settled_game_is_left_alone_though_the_judge_still_shows_it(table: Table) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    play(player, policy)
    table.chain.reveal(0)
    play(player, policy, rounds=5)
    play(table.player(), policy, rounds=3)
    assert [line.split()[0] for line in table.lines()] == ["bet", "claim", "outcome"]


# ---- restarts


def test_a_restart_goes_on_where_it_was(table: Table) -> None:
    table.new_game(rounds=5)
    play(table.player(), Scores("red"))
    play(table.player(), Scores("blue"))
    table.end(answer=0)
    play(table.player(), Scores("red"))
    play(table.player(), Scores("red"))
    assert [line.split()[0] for line in table.lines()] == ["bet", "claim", "outcome"]
    assert len(table.bets()) == 1


def test_with_the_state_lost_nothing_is_bet_twice_and_the_game_is_still_claimed(table: Table) -> None:
    table.new_game(rounds=5)
    first = table.player()
    play(first, Scores("red"))
    table.next_clue()
    play(first, Scores("red"))
    table.state_file().unlink()
    policy = Scores("blue")
    second = table.player()
    play(second, policy, rounds=2)
    assert policy.asked == 0
    assert [bet.choice for bet in table.bets()] == [0, 0]
    table.end(answer=0)
    play(second, policy, rounds=2)
    # 25 for the first clue, a third of 75 for the second; nobody else bet.
    assert table.lines()[2:] == ["claim game 0", 'outcome game 0: won 0 tokens on "red" (50 paid for 50)']


def test_with_a_state_from_before_the_last_bet_nothing_is_bet_twice(table: Table) -> None:
    table.new_game(rounds=5)
    player = table.player()
    play(player, Scores("red"))
    before = table.state_file().read_bytes()
    table.next_clue()
    play(player, Scores("red"))
    table.state_file().write_bytes(before)
    again = table.player()
    play(again, Scores("blue"), rounds=2)
    assert [bet.choice for bet in table.bets()] == [0, 0]
    assert len(table.lines("bet")) == 2
    table.end(answer=0)
    play(again, Scores("red"), rounds=2)
    assert table.lines("outcome") == ['game 0: won 0 tokens on "red" (50 paid for 50)']


class Crash(BaseException):
    """The process ends here."""


def test_a_crash_between_outbox_and_state_bets_nothing_twice(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    table.new_game(rounds=5)
    player = table.player()
    monkeypatch.setattr(player._file, "save", raising(Crash()))
    ask(player)
    with pytest.raises(Crash):
        player.play(Scores("red"))
    assert len(table.bets()) == 1
    after = table.player()
    play(after, Scores("blue"), rounds=2)
    assert [(bet.choice, bet.stake) for bet in table.bets()] == [(0, 25 * ONE_TOKEN)]
    table.end(answer=0)
    play(after, Scores("blue"), rounds=2)
    assert table.lines() == ["claim game 0", 'outcome game 0: won 0 tokens on "red" (25 paid for 25)']


def test_a_bet_that_another_run_made_meanwhile_is_taken_over(table: Table) -> None:
    table.new_game(rounds=5)
    player = table.player()
    ask(player)
    table.market("A").place_bet(game=0, clue=0, choice=1, stake=7, peer_id="A")
    player.play(Scores("red"))
    assert (table.lines(), [bet.stake for bet in table.bets()]) == ([], [7])
    play(player, Scores("red"))
    assert '"stake": "7"' in table.state_file().read_text()


def test_a_stop_while_the_model_scores_leaves_the_player_whole(table: Table) -> None:
    class Stop(BaseException):
        """Rises in the main thread, as a node's stop does."""

    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    policy.failure = Stop()
    ask(player)
    with pytest.raises(Stop):
        player.play(policy)
    policy.failure = None
    play(player, policy)
    assert len(table.bets()) == 1


# ---- refusals


def test_a_bet_on_a_clue_that_is_over_is_recorded_as_refused_once(table: Table) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    ask(player)
    table.chain.next_clue()
    player.play(policy)
    play(player, policy, rounds=3)
    (line,) = table.lines("refused")
    assert line.startswith("game 0 clue 0: ")
    assert len(line) > len("game 0 clue 0: ")
    assert len(table.lines("bet")) == 1
    assert player.bet_tokens == 100


def test_a_game_in_which_no_bet_was_taken_is_not_claimed(table: Table) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    ask(player)
    table.chain.next_clue()
    player.play(policy)
    table.end(answer=0)
    play(player, policy, rounds=3)
    assert table.lines("outcome") == ["game 0: no bet was taken"]
    assert table.lines("claim") == []


def test_a_refused_claim_is_tried_again_when_something_has_changed_or_after_twenty_rounds(table: Table) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    play(player, policy)
    claims: list[int] = []
    market = table.market("A")

    def claim(*, game: int, peer_id: str) -> None:
        claims.append(game)
        market._whole.claim(game=game, peer_id=peer_id)

    market.instead["claim"] = claim
    # The judge has nothing to say for a while, and on the contract the game is still open.
    table.judge.clue = None
    play(player, policy, rounds=20)
    assert claims == [0]
    play(player, policy)
    assert claims == [0, 0]
    # A next game that the judge tells of.
    table.show(1, 0, remaining=0)
    market.instead["balance"] = lambda peer_id: 0
    play(player, policy, rounds=3)
    assert claims == [0, 0, 0]
    table.chain.reveal(0)
    play(player, policy, rounds=3)
    assert claims == [0, 0, 0, 0]
    assert len(table.lines("claim")) == len(table.lines("outcome")) == 1


def test_a_game_that_the_contract_does_not_know_is_given_up(table: Table) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    play(player, policy)
    # The host has begun a new chain.
    claims: list[int] = []
    table.market("A").instead |= {
        "result": lambda game, peer_id: GameResult(status="unknown", correct_choice=None, payout=None),
        "claim": lambda game, peer_id: claims.append(game),
        "claim_status": lambda game, peer_id: "refused" if claims else None,
    }
    table.judge.clue = None
    play(player, policy, rounds=70)
    assert claims == [0, 0, 0]
    assert table.lines("outcome") == ["game 0: given up, as the contract knows no such game"]
    assert '"games": []' in table.state_file().read_text()


def test_a_contract_without_views_leaves_it_at_claimed(table: Table) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    market = table.market("A")
    market.instead["result"] = lambda game, peer_id: GameResult(status="open", correct_choice=None, payout=None)
    play(player, policy)
    table.end(answer=0)
    play(player, policy, rounds=3)
    assert table.lines("outcome") == ["game 0: claimed"]


@pytest.mark.parametrize("status", ["waiting", "sent"])
def test_an_outcome_waits_for_bets_that_are_on_their_way(table: Table, status: Any) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    market = table.market("A")

    def on_its_way(**which: Any) -> Bet | None:
        bet = market._whole.bet_on(**which)
        return bet and replace(bet, status=status)

    market.instead["bet_on"] = on_its_way
    play(player, policy)
    table.end(answer=0)
    play(player, policy, rounds=4)
    assert table.lines("outcome") == []
    market.instead.clear()
    play(player, policy)
    assert len(table.lines("outcome")) == 1


# ---- whatever fails


def no_clue() -> Any:
    return Clue(game=-1, clue=0, rounds_remaining=0, text="", choices=CHOICES)


FAILURES_OF_THE_JUDGE: dict[str, Callable[..., Any]] = {
    "away": raising(JudgeAway("The judge is away.")),
    "broken": raising(RuntimeError("a judge of somebody's own")),
    "a game that no market has": no_clue,
    "a game beyond all numbers": lambda: replace(no_clue(), game=2**64),
    "no choices": lambda: replace(no_clue(), game=0, choices=()),
    "too many choices": lambda: replace(no_clue(), game=0, choices=tuple(map(str, range(65)))),
    "an empty choice": lambda: replace(no_clue(), game=0, choices=("red", "")),
    "a choice of many lines": lambda: replace(no_clue(), game=0, choices=("red", "blue\nbet")),
    "a choice of half a letter": lambda: replace(no_clue(), game=0, choices=("red", "\ud800")),
    "an endless choice": lambda: replace(no_clue(), game=0, choices=("red", "x" * 201)),
    "no clue at all": lambda: "red",
}


@pytest.mark.parametrize("failure", FAILURES_OF_THE_JUDGE.values(), ids=FAILURES_OF_THE_JUDGE)
def test_whatever_the_judge_does_a_round_goes_on_and_play_is_resumed(
    table: Table, caplog: pytest.LogCaptureFixture, failure: Callable[..., Any]
) -> None:
    caplog.set_level(logging.INFO)
    table.new_game(rounds=5)
    judge = Wrong(table.judge)
    judge.instead["current_clue"] = failure
    player, policy = table.player(judge=judge), Scores("red")
    for _ in range(4):
        play(player, policy)
        table.now += 1000
    assert table.bets() == []
    assert caplog.text.count("No clues for the prediction market") == 1
    judge.instead.clear()
    play(player, policy, rounds=2)
    assert len(table.bets()) == 1
    assert caplog.text.count("There are clues again.") == 1


FAILURES_OF_THE_MARKET: dict[str, tuple[str, BaseException]] = {
    "balance, chain away": ("balance", ChainUnavailable("The chain is away.")),
    "balance, wrong address": ("balance", ChainError("There is no market.")),
    "balance, broken": ("balance", RuntimeError("a market of somebody's own")),
    "outbox unreadable": ("bet_on", ChainError("The outbox is locked.")),
    "bet not written": ("place_bet", ChainError("The disk is full.")),
    "bet refused at once": ("place_bet", ValueError("there is no choice 9")),
}


@pytest.mark.parametrize(("method", "error"), FAILURES_OF_THE_MARKET.values(), ids=FAILURES_OF_THE_MARKET)
def test_whatever_fails_while_betting_a_round_goes_on_and_play_is_resumed(
    table: Table, caplog: pytest.LogCaptureFixture, method: str, error: BaseException
) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    table.market("A").instead[method] = raising(error)
    for _ in range(4):
        play(player, policy)
        table.now += 1000
    assert len(warnings_in(caplog)) == 1
    assert str(error) in caplog.text
    table.market("A").instead.clear()
    play(player, policy, rounds=2)
    assert [(bet.choice, bet.stake) for bet in table.bets()] == [(0, 25 * ONE_TOKEN)]


@pytest.mark.parametrize("method", ["claim_status", "result", "claim", "balance"])
@pytest.mark.parametrize("error", [ChainUnavailable("The chain is away."), RuntimeError("broken")])
def test_whatever_fails_while_claiming_a_round_goes_on_and_the_game_is_settled_later(
    table: Table, caplog: pytest.LogCaptureFixture, method: str, error: BaseException
) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    play(player, policy)
    table.end(answer=0)
    table.market("A").instead[method] = raising(error)
    for _ in range(4):
        play(player, policy)
        table.now += 1000
    assert table.lines("outcome") == []
    assert len(warnings_in(caplog)) == 1
    table.market("A").instead.clear()
    play(player, policy, rounds=3)
    assert len(table.lines("outcome")) == 1


@pytest.mark.parametrize(
    ("failure", "answer"),
    [
        (ValueError("prompt and answer have 9000 tokens; 2048 can be scored"), None),
        (MemoryError(), None),
        (RuntimeError("CUDA"), None),
        (AttributeError("score_answers"), None),
        (None, [float("nan"), -1.0]),
        (None, [-1.0]),
        (None, [-1.0, -2.0, -3.0]),
        (None, []),
    ],
)
def test_a_model_that_cannot_score_places_no_bet_and_is_asked_again_later(
    table: Table, caplog: pytest.LogCaptureFixture, failure: BaseException | None, answer: list[float] | None
) -> None:
    table.new_game(rounds=5)
    player, policy = table.player(), Scores("red")
    policy.failure, policy.answer = failure, answer
    play(player, policy, rounds=3)
    # Once: the pause has not passed.
    assert policy.asked == 1
    table.now += 1000
    play(player, policy)
    assert len(warnings_in(caplog)) == 1
    assert table.bets() == []
    policy.failure = policy.answer = None
    table.now += 1000
    play(player, policy)
    assert len(table.bets()) == 1


def test_pauses_double_up_to_five_minutes(table: Table) -> None:
    calls: list[float] = []

    def count() -> Any:
        calls.append(table.now)
        raise JudgeAway("gone")

    judge = Wrong(table.judge)
    judge.instead["current_clue"] = count
    player = table.player(judge=judge)
    for _ in range(2000):
        play(player, Scores("red"))
        table.now += 1
    pauses = [later - earlier for earlier, later in zip(calls, calls[1:], strict=False)]
    # Each within a quarter of 5, 10, 20 ... 300 seconds, and a second more, the rounds' length.
    for pause, wanted in zip(pauses, [5, 10, 20, 40, 80, 160, 300, 300], strict=False):
        assert 0.75 * wanted <= pause <= 1.25 * wanted + 1
    assert len(calls) < 15


def test_a_judge_that_says_when_to_come_back_is_left_alone_until_then(table: Table) -> None:
    table.new_game(rounds=5)
    judge = Wrong(table.judge)
    judge.instead["current_clue"] = raising(JudgeAway("Too many questions.", retry_after_seconds=60.0))
    player, policy = table.player(judge=judge), Scores("red")
    play(player, policy)
    judge.instead.clear()
    table.now = 59.0
    play(player, policy)
    assert table.bets() == []
    table.now = 61.0
    play(player, policy)
    assert len(table.bets()) == 1


def test_a_judge_that_hangs_holds_nobody_up(table: Table) -> None:
    table.new_game(rounds=5)
    asked, answer = threading.Event(), threading.Event()

    def hang() -> Any:
        asked.set()
        assert answer.wait(20)
        return table.judge.clue

    judge = Wrong(table.judge)
    judge.instead["current_clue"] = hang
    player, policy = table.player(judge=judge), Scores("red")
    for _ in range(5):
        player.begin()
        player.play(policy)
    assert asked.wait(20)
    # All of that returned while the judge had not answered, and nothing has piled up behind it.
    assert (policy.asked, player._background._calls.qsize()) == (0, 0)
    answer.set()
    play(player, policy)
    assert len(table.bets()) == 1


def test_closing_does_not_wait_for_a_judge_that_hangs(table: Table) -> None:
    answer = threading.Event()
    judge = Wrong(table.judge)
    judge.instead["current_clue"] = lambda: answer.wait(20)
    player = table.player(judge=judge)
    player.begin()
    player.close()
    assert not answer.is_set()
    answer.set()


def test_an_answer_that_comes_late_is_played_in_a_later_round(table: Table) -> None:
    table.new_game(rounds=5)
    answer = threading.Event()
    judge = Wrong(table.judge)
    judge.instead["current_clue"] = lambda: answer.wait(20) and table.judge.clue
    player, policy = table.player(judge=judge), Scores("red")
    player.begin()
    player.play(policy)
    assert table.bets() == []
    answer.set()
    ask(player)
    player.play(policy)
    assert len(table.bets()) == 1


# ---- lines


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (100 * ONE_TOKEN, "100"),
        (375 * ONE_TOKEN // 10, "37.5"),
        (100 * ONE_TOKEN // 3, "33.333333"),
        (10**40, "10000000000000000000000"),
    ],
)
def test_amounts_are_told_in_tokens(amount: int, text: str) -> None:
    assert tokens(amount) == text


def test_a_line_of_a_bet_shows_the_likeliest_of_many_choices_and_cuts_long_ones() -> None:
    choices = tuple(f"{number:02} {'x' * 100}" for number in range(20))
    clue = Clue(game=3, clue=1, rounds_remaining=2, text="Which?", choices=choices)
    scores = [-float(number) for number in range(20)]
    line = bet_line(clue, 0, stake=25 * ONE_TOKEN, balance=100 * ONE_TOKEN, scores=scores)
    assert line.startswith(f'game 3 clue 1: "00 {"x" * 34}..." for 25 of 100 tokens (log-probs 00 ')
    assert line.endswith("... -7.00, 12 more)")


GAME = PlayedGame(
    game=3,
    choices=CHOICES,
    bets=(
        PlacedBet(clue=0, choice=0, stake=20 * ONE_TOKEN, accepted=True),
        PlacedBet(clue=1, choice=0, stake=5 * ONE_TOKEN),
        PlacedBet(clue=2, choice=1, stake=50 * ONE_TOKEN, accepted=False),
    ),
)


@pytest.mark.parametrize(
    ("status", "answer", "payout", "line"),
    [
        ("revealed", 0, 62.5, 'game 3: won 37.5 tokens on "red" (62.5 paid for 25)'),
        ("revealed", 0, 25, 'game 3: won 0 tokens on "red" (25 paid for 25)'),
        ("revealed", 1, 0, 'game 3: lost 25 tokens: the answer was "blue"'),
        ("revealed", 1, 25, 'game 3: refunded 25 tokens, as nobody bet on the answer "blue"'),
        ("revealed", 7, 0, "game 3: lost 25 tokens: the answer was choice 7"),
        ("revealed", None, 25, "game 3: claimed 25 tokens"),
        ("abandoned", None, 25, "game 3: refunded 25 tokens, as it ended without an answer"),
        ("revealed", 0, None, "game 3: claimed"),
    ],
)
def test_an_outcome_counts_the_bets_that_were_taken(status: Any, answer: Any, payout: Any, line: str) -> None:
    paid = None if payout is None else int(payout * ONE_TOKEN)
    assert outcome_line(GAME, GameResult(status=status, correct_choice=answer, payout=paid)) == line

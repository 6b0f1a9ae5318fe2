"""What the new weights are asked at a round's end: held-out problems, the judge's questions, the market's clue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from rgym_exp.judge.judge import Clue
from rgym_exp.judge.judge_client import JudgeClient
from rgym_exp.node.prediction import MarketPlayer
from rgym_exp.node.round import Components, conclude_round, play_round
from rgym_exp.training.policy import Chat
from rgym_exp.types import RoundReport
from simulation.memory_chain import MemoryChain
from simulation.memory_judge import MemoryJudge
from tests.support.processes import wait_for
from tests.unit.node.conftest import STEP, MakeComponents, ScriptedPolicy, rounds_of, settings

CHOICES = ("red", "blue")


class Examinee(ScriptedPolicy):
    """Counts the prompts of each greedy call, and finds the last answer likeliest."""

    def __init__(self) -> None:
        super().__init__()
        self.greedy_calls: list[int] = []

    def greedy(self, prompts: Sequence[Chat]) -> list[str]:
        self.greedy_calls.append(len(prompts))
        return super().greedy(prompts)

    def score_answers(self, prompt: Chat, answers: Sequence[str]) -> list[float]:
        return [float(number) for number, _ in enumerate(answers)]


class Table:
    """A node with a judge, at a market with a game."""

    def __init__(self, make_components: MakeComponents, chain: MemoryChain, folder: Path, life: ExitStack) -> None:
        self.judge = MemoryJudge(["What is 1 + 1?", "What is 2 + 3?"], score=lambda question, answer: 0.25)
        self.game = chain.new_game(2, len(CHOICES))
        self.judge.clue = Clue(game=self.game, clue=0, rounds_remaining=1, text="Which?", choices=CHOICES)
        self.policy = Examinee()
        self.judge_client = JudgeClient(self.judge, user_id="ada", model_name="scripted", every_rounds=1, questions=2)
        life.callback(self.judge_client.close)
        market = chain.coordinator("0xada").market
        assert market is not None
        self.market = market
        self.player = MarketPlayer(
            judge=self.judge,
            market=market,
            peer_id="ada",
            state_file=folder / "state.json",
            record_file=folder / "record.txt",
        )
        life.callback(self.player.close)
        self._make_components = make_components

    def components(self, *, evaluate_every: int) -> Components:
        return self._make_components(
            "ada", self.policy, evaluate_every=evaluate_every, judge_client=self.judge_client, player=self.player
        )

    def play(self, components: Components) -> RoundReport:
        """A round up to its record, long enough for the judge to have asked."""
        playing = play_round(components, settings(), rounds_of(components), step=1)
        next(playing)
        wait_for(lambda: len(self.judge.asked) >= 2, what="two questions of the judge")
        with pytest.raises(StopIteration) as done:
            playing.send(STEP)
        report: RoundReport = done.value.value
        return report


@pytest.fixture
def table(make_components: MakeComponents, chain: MemoryChain, tmp_path: Path) -> Iterator[Table]:
    with ExitStack() as life:
        yield Table(make_components, chain, tmp_path, life)


def test_questions_and_held_out_problems_are_answered_in_one_call(table: Table) -> None:
    components = table.components(evaluate_every=1)
    concluded = conclude_round(components, table.play(components), last_step=-1)
    assert table.policy.greedy_calls == [4]
    assert concluded.held_out == 1.0
    wait_for(lambda: len(table.judge.answers) == 2, what="both answers with the judge")
    assert [(round, answer) for _, round, answer in table.judge.answers] == [
        (0, "<answer>2</answer>"),
        (0, "<answer>5</answer>"),
    ]


def test_scores_are_in_the_report_of_the_round_in_which_they_arrived(table: Table) -> None:
    components = table.components(evaluate_every=0)
    report = table.play(components)
    first = conclude_round(components, report, last_step=-1)
    wait_for(lambda: len(table.judge.answers) == 2, what="both answers with the judge")
    second = conclude_round(components, report, last_step=-1)
    answers = first.judge_answers + second.judge_answers
    assert answers == 2
    assert {score for score in (first.judge_score, second.judge_score) if score is not None} == {0.25}
    assert first.held_out is None


def test_the_likeliest_answer_is_bet_on_and_the_tokens_left_are_reported(table: Table) -> None:
    components = table.components(evaluate_every=0)
    report = table.play(components)

    def tokens_after_a_bet() -> list[float | None]:
        concluded = conclude_round(components, report, last_step=-1)
        bet = table.market.bet_on(game=table.game, clue=0, peer_id="ada")
        return [concluded.bet_tokens] if bet is not None else []

    assert wait_for(tokens_after_a_bet, what="a bet on the clue") == [0.0]
    bet = table.market.bet_on(game=table.game, clue=0, peer_id="ada")
    assert bet is not None
    assert (bet.choice, bet.stake) == (1, 100 * 10**18)


def test_a_round_without_judge_and_market_is_a_round_like_any_other(
    make_components: MakeComponents, chain: MemoryChain
) -> None:
    components = make_components("ada")
    playing = play_round(components, settings(), rounds_of(components), step=1)
    next(playing)
    with pytest.raises(StopIteration) as done:
        playing.send(STEP)
    report = conclude_round(components, done.value.value, last_step=-1)
    assert (report.judge_score, report.judge_answers, report.bet_tokens, report.held_out) == (None, 0, None, None)
    assert chain.rewards[(0, 0, "ada")] == 8

"""What a class that the configuration names by ``_target_`` does wrong is told with its name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest

from rgym_exp.base.swarm_clock import SwarmClock
from rgym_exp.chain.coordinator import ChainUnavailable, Coordinator
from rgym_exp.config.paths import Home
from rgym_exp.config.schema import BlockchainConfig, CommunicationsConfig, Config
from rgym_exp.node.components import make_coordinator_of, make_exchange, make_tasks
from rgym_exp.node.own_classes import OwnClassError, close_judge
from rgym_exp.tasks.source import TaskSource
from rgym_exp.types import Problem
from simulation.memory_chain import MemoryChain
from simulation.memory_judge import MemoryJudge
from simulation.memory_tasks import MemoryTasks

PLACE: dict[str, Any] = {"swarm_id": "s", "round": 1, "peer_id": "ada", "slot": 0}
ANSWERS = 2


class TheirTasks(MemoryTasks):
    """Tasks of somebody's own, which do what a test tells them to."""

    scores: Callable[[Sequence[Any]], Any]

    def score(self, answers: Sequence[tuple[Problem, str]]) -> Any:
        return type(self).scores(answers)


def tasks_that_score(scores: Callable[[Sequence[Any]], Any], monkeypatch: pytest.MonkeyPatch) -> TaskSource:
    monkeypatch.setattr(TheirTasks, "scores", staticmethod(scores), raising=False)
    return make_tasks(Config(tasks={"_target_": f"{__name__}.TheirTasks"}))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([1.0], "gave 1 scores for 2 answers"),
        ([1.0, 0.0, 1.0], "gave 3 scores for 2 answers"),
        ([1.0, math.nan], "gave nan for an answer"),
        ([1.0, math.inf], "gave inf for an answer"),
        ([1.5, 0.0], "gave 1.5 for an answer; a score is a number from 0 to 1"),
        ([-0.1, 0.0], "gave -0.1 for an answer"),
        ([None, 0.0], "gave None for an answer"),
        (["1", 0.0], "gave '1' for an answer"),
        (None, "gave None instead of a list of scores"),
        (0.5, "gave 0.5 instead of a list of scores"),
    ],
)
def test_scores_that_are_none_are_told_with_the_class(given: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = tasks_that_score(lambda answers: given, monkeypatch)
    with pytest.raises(OwnClassError, match=r"^tasks: .*TheirTasks has a mistake: score ") as failure:
        tasks.score([(tasks.problem(**PLACE), "12")] * ANSWERS)
    assert said in str(failure.value)


@pytest.mark.parametrize("given", [[0.0, 1.0], (0, 1), [True, False], numpy.array([0.0, 1.0], dtype="float32")])
def test_scores_of_any_kind_of_number_are_taken(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = tasks_that_score(lambda answers: given, monkeypatch)
    scores = tasks.score([(tasks.problem(**PLACE), "12")] * ANSWERS)
    assert scores == [float(score) for score in given]
    assert {type(score) for score in scores} == {float}


def test_an_exception_is_told_with_class_place_and_kind_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = tasks_that_score(lambda answers: dict[str, float]()["answer"], monkeypatch)
    with pytest.raises(OwnClassError) as failure:
        tasks.score([(tasks.problem(**PLACE), "12")])
    said = str(failure.value)
    assert "TheirTasks has a mistake: score failed with KeyError: 'answer'" in said
    assert "of test_own_classes.py" in said
    assert "Traceback" in caplog.text


class NoProblems(MemoryTasks):
    def problem(self, **place: Any) -> Any:
        return "What is 1 + 1?"

    def held_out(self, count: int) -> Any:
        return ["What is 1 + 1?"] * count

    def messages(self, problem: Problem) -> Any:
        return [problem.question]


class NoDigest(MemoryTasks):
    def __init__(self) -> None:
        super().__init__()
        self.digest = None  # type: ignore[assignment]


class HalfTasks:
    digest = "d"

    def score(self, answers: Sequence[Any]) -> list[float]:
        return [0.0 for _ in answers]


def test_problems_and_chats_of_another_kind_are_told() -> None:
    tasks = make_tasks(Config(tasks={"_target_": f"{__name__}.NoProblems"}))
    with pytest.raises(OwnClassError, match="NoProblems has a mistake: problem gave 'What is 1"):
        tasks.problem(**PLACE)
    with pytest.raises(OwnClassError, match="held_out gave 'What is 1 .* among what should be Problems"):
        tasks.held_out(2)
    with pytest.raises(OwnClassError, match="messages gave .* no list of role and content"):
        tasks.messages(MemoryTasks().problem(**PLACE))


def test_a_class_that_lacks_something_is_told_when_it_is_made() -> None:
    with pytest.raises(
        OwnClassError, match="HalfTasks lacks max_completion_length, problem, held_out, messages, close"
    ):
        make_tasks(Config(tasks={"_target_": f"{__name__}.HalfTasks"}))
    with pytest.raises(OwnClassError, match="NoDigest has a mistake: digest gave None"):
        make_tasks(Config(tasks={"_target_": f"{__name__}.NoDigest"}))


def their_coordinator(round_and_stage: Any = (0, 0)) -> Coordinator:
    coordinator = MemoryChain().coordinator("0xada")

    def look(*, after: int | None = None) -> Any:
        if isinstance(round_and_stage, Exception):
            raise round_and_stage
        return round_and_stage

    coordinator.round_and_stage = look  # type: ignore[method-assign]
    return coordinator


def made_coordinator(tmp_path: Path, **arguments: Any) -> Coordinator:
    own = {"_target_": f"{__name__}.their_coordinator", **arguments}
    config = Config(blockchain=BlockchainConfig(coordinator=own))
    return make_coordinator_of(config, Home(root=tmp_path, identity_path=None), SwarmClock())


def test_a_coordinators_mistake_is_told(tmp_path: Path) -> None:
    coordinator = made_coordinator(tmp_path, round_and_stage="12")
    with pytest.raises(OwnClassError, match="blockchain.coordinator: .*round_and_stage gave '12'"):
        coordinator.round_and_stage()
    # It still says whether it can be asked to wait.
    assert "after" in inspect.signature(coordinator.round_and_stage).parameters
    assert coordinator.market is not None


def chain_away() -> Coordinator:
    return their_coordinator(ChainUnavailable("It is away."))


def test_what_a_seam_may_raise_goes_through_as_it_is(tmp_path: Path) -> None:
    config = Config(blockchain=BlockchainConfig(coordinator={"_target_": f"{__name__}.chain_away"}))
    coordinator = make_coordinator_of(config, Home(root=tmp_path, identity_path=None), SwarmClock())
    with pytest.raises(ChainUnavailable, match=r"^It is away\.$"):
        coordinator.round_and_stage()


class TheirGathering:
    def close(self, **_: Any) -> Any:
        return None


class TheirExchange:
    peer_id = "ada"

    def start_gathering(self, round: int) -> TheirGathering:
        return TheirGathering()

    def publish(self, share: Any, **_: Any) -> Any:
        raise RuntimeError("no route")

    def dropped(self) -> dict[str, int]:
        return {}

    def ways(self) -> dict[str, str]:
        return {}

    def peers(self) -> Any:
        return None

    def close(self) -> None: ...


def test_the_mistakes_of_an_exchange_and_of_its_gatherings_are_told(tmp_path: Path) -> None:
    own = CommunicationsConfig(exchange={"_target_": f"{__name__}.TheirExchange"})
    exchange = make_exchange(
        Config(communications=own), Home(root=tmp_path, identity_path=None), "digest", [], SwarmClock()
    )
    with pytest.raises(OwnClassError, match="publish failed with RuntimeError: no route"):
        exchange.publish(None, swarm_round=0, model_name="m", account="", mean_reward=0.0)  # type: ignore[arg-type]
    with pytest.raises(OwnClassError, match="peers gave None instead of a list"):
        exchange.peers()
    with pytest.raises(OwnClassError, match="communications.exchange: .*close gave None instead of a list"):
        exchange.start_gathering(0).close(timeout_seconds=1, enough_shares=1)
    assert exchange.peer_id == "ada"
    exchange.close()


class JudgeThatStays(MemoryJudge):
    def close(self) -> None:
        raise KeyError("session")


def test_a_judge_that_fails_at_the_end_costs_a_line(caplog: pytest.LogCaptureFixture) -> None:
    close_judge(JudgeThatStays())
    assert "The judge (JudgeThatStays) failed at the end with KeyError: 'session'." in caplog.text

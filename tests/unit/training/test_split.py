"""Several processes are one peer: the same gradient, the same answers, and an end that nobody waits for in vain."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed import TCPStore
from transformers import TrainerCallback

from rgym_exp.config.schema import TrainingConfig
from rgym_exp.training.build import Learner, build_learner
from rgym_exp.training.hardware import find_hardware
from rgym_exp.training.helpers import HelperFailed, HelperRanks
from rgym_exp.training.orders import Sample, SetUp, TakeGradient
from rgym_exp.training.ranks import RankLost, Ranks
from rgym_exp.training.rollout import Rollout, logged_weight_statistics
from rgym_exp.training.split import build_split_learner, deal
from tests.support.processes import REPOSITORY
from tests.unit.training.conftest import GROUP_SIZE, make_rollout

pytestmark = pytest.mark.timeout(240)

SIZE = 3
PROMPTS = [[10, 20, 30], [40, 50], [60, 70, 80, 90], [15]]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Rank 0's helpers, and their processes."""

    helpers: HelperRanks
    processes: list[subprocess.Popen[bytes]]


def start_peer(size: int) -> Peer:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.rank", str(store.port), str(rank), str(size)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(1, size)
    ]
    return Peer(helpers=HelperRanks(lambda: Ranks(store, rank=0, size=size)), processes=processes)


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    """Three ranks, of which two are processes of their own; every test sets them up anew."""
    started = start_peer(SIZE)
    yield started
    started.helpers.close()
    assert [process.wait(timeout=60) for process in started.processes] == [0] * (SIZE - 1)


class GradientKept(TrainerCallback):
    """Keeps what the optimizer is about to use."""

    def __init__(self) -> None:
        self.gradient = torch.zeros(0)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        model = rest["model"]
        self.gradient = torch.cat([w.grad.flatten().clone() for w in model.parameters() if w.grad is not None])


Build = Callable[..., Learner]


@pytest.fixture
def build(tiny_model_folder: Path) -> Build:
    """Makes a learner whose rounds bring ``make_rollout``; with helpers, one that all ranks share."""

    def make(
        helpers: HelperRanks | None = None,
        *,
        groups: int = 6,
        play: Callable[[], Rollout] | None = None,
        dtype: str = "float32",
        **changes: Any,
    ) -> Learner:
        chosen: dict[str, Any] = {"max_rounds": 1, "learning_rate": 1e-3, "max_grad_norm": 0.0, **changes}
        config = TrainingConfig(
            device="cpu",
            dtype=dtype,
            local_groups=groups,
            external_groups=0,
            num_generations=GROUP_SIZE,
            **chosen,
        )
        arguments: dict[str, Any] = {
            "model_name": str(tiny_model_folder),
            "max_completion_length": 5,
            "sample_chats": [[{"role": "user", "content": "hello"}]],
            "play": play or (lambda: make_rollout(groups=groups)),
        }
        hardware = find_hardware("cpu")
        if helpers is None:
            return build_learner(config, hardware, **arguments)
        return build_split_learner(helpers, config, hardware, **arguments)

    return make


def step_of(learner: Learner) -> tuple[torch.Tensor, dict[str, float]]:
    """The gradient of one step, and what TRL logged of it."""
    kept = GradientKept()
    learner.trainer.add_callback(kept)
    learner.trainer.train()
    logged = next(row for row in learner.trainer.state.log_history if "loss" in row)
    return kept.gradient, {key: float(logged[key]) for key in ("loss", "grad_norm", "entropy")}


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "bnpo", "dr_grpo"])
def test_the_gradient_is_that_of_one_process(peer: Peer, build: Build, loss_type: str) -> None:
    # Five of six groups have an advantage: two, two and one for the three ranks.
    alone, alone_logged = step_of(build(loss_type=loss_type))
    together, logged = step_of(build(peer.helpers, loss_type=loss_type))
    assert alone.abs().max() > 1e-3
    assert torch.allclose(together, alone, atol=1e-6)
    assert logged["loss"] == pytest.approx(alone_logged["loss"], abs=1e-5)
    assert logged["grad_norm"] == pytest.approx(alone_logged["grad_norm"], rel=1e-5)


def test_weights_on_external_groups_are_those_of_one_process(peer: Peer, build: Build) -> None:
    def play() -> Rollout:
        return make_rollout(groups=6, sender=-5.5)

    alone, _ = step_of(build(external_weight="bounded", play=play))
    together, _ = step_of(build(peer.helpers, external_weight="bounded", play=play))
    trusting, _ = step_of(build(play=play))
    assert not torch.allclose(alone, trusting, atol=1e-5)
    assert torch.allclose(together, alone, atol=1e-6)


def test_statistics_of_external_weights_are_those_of_one_process(peer: Peer, build: Build) -> None:
    def play() -> Rollout:
        rollout = make_rollout(groups=6, sender=-50.0)
        # The third group is another rank's: its weights must reach the log of rank 0 one by one.
        rollout.sender_mean_logprobs[2 * GROUP_SIZE : 3 * GROUP_SIZE] = [0.0] * GROUP_SIZE
        return rollout

    def statistics(learner: Learner) -> dict[str, float]:
        learner.trainer.train()
        logged = next(row for row in learner.trainer.state.log_history if "loss" in row)
        return logged_weight_statistics(logged)

    alone = statistics(build(external_weight="bounded", play=play))
    together = statistics(build(peer.helpers, external_weight="bounded", play=play))
    # Five groups have an advantage.
    assert alone == {
        "mean": pytest.approx(0.96), "min": pytest.approx(0.8), "max": 1.0, "share_below_one": pytest.approx(0.2),
    }  # fmt: skip
    assert together == {name: pytest.approx(value) for name, value in alone.items()}


def test_a_rank_without_a_group_adds_nothing(peer: Peer, build: Build) -> None:
    alone, _ = step_of(build(groups=2))
    together, _ = step_of(build(peer.helpers, groups=2))
    assert torch.allclose(together, alone, atol=1e-6)


def test_adapters_are_trained_as_by_one_process(peer: Peer, build: Build) -> None:
    alone, _ = step_of(build(lora=True))
    together, _ = step_of(build(peer.helpers, lora=True))
    assert alone.abs().max() > 0
    assert torch.allclose(together, alone, atol=1e-6)


def test_what_is_logged_is_the_mean_over_the_passes_of_all_ranks(peer: Peer, build: Build) -> None:
    # A group at once makes every pass the same size, so the mean over passes is the same however they are dealt out.
    _, alone = step_of(build(micro_batch_groups=1))
    _, together = step_of(build(peer.helpers, micro_batch_groups=1))
    assert together["entropy"] == pytest.approx(alone["entropy"], rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_rank_answers_with_the_weights_of_the_last_step(peer: Peer, build: Build, dtype: str) -> None:
    learner = build(peer.helpers, dtype=dtype, max_rounds=3, learning_rate=0.02)
    before = learner.sampler.sample(PROMPTS, 1, greedy=True)
    learner.trainer.train()
    after = learner.sampler.sample(PROMPTS, 1, greedy=True)
    of_rank_zero: Any = learner.sampler
    assert after != before
    assert [g[0].token_ids for g in after] == [
        g[0].token_ids for g in of_rank_zero._own.sample(PROMPTS, 1, greedy=True)
    ]


def test_the_ranks_draw_different_answers_and_the_same_ones_from_the_same_random_state(
    peer: Peer, build: Build
) -> None:
    sampler = build(peer.helpers).sampler
    torch.manual_seed(5)
    first = sampler.sample(PROMPTS[:1], 30)
    torch.manual_seed(5)
    assert sampler.sample(PROMPTS[:1], 30) == first
    # Ten of the thirty came from each rank.
    assert len(first[0]) == 30
    assert first[0][:10] != first[0][10:20] != first[0][20:]


def test_a_stop_in_the_midst_of_an_exchange_leaves_the_ranks_in_step(peer: Peer, build: Build) -> None:
    class Stop(BaseException):
        """Rises in rank 0 while the helpers are at work."""

    def stop(*_: Any, **__: Any) -> Any:
        raise Stop

    learner = build(peer.helpers)
    sampler: Any = learner.sampler
    whole, sampler._own.sample = sampler._own.sample, stop
    with pytest.raises(Stop):
        sampler.sample(PROMPTS, 8)
    sampler._own.sample = whole
    # The abandoned answers are not taken for these.
    assert [len(group) for group in sampler.sample(PROMPTS, 2)] == [2] * len(PROMPTS)
    assert step_of(learner)[0].abs().max() > 1e-3


def test_a_failure_of_a_helper_is_told_with_its_rank_and_its_reason(peer: Peer, build: Build) -> None:
    build(peer.helpers)
    bad = TakeGradient(groups=[99], batch={})
    with pytest.raises(HelperFailed, match=r"Process 1 of this peer failed: KeyError.*rank-1\.log"):
        peer.helpers.ask([bad, TakeGradient(groups=[], batch={})]).result()
    # Both answers were taken in, so the next exchange is clean.
    replies = peer.helpers.ask([Sample(prompts=[[10]], copies=2, greedy=True, seed=0)] * 2).result()
    assert [len(reply.tokens()[0]) for reply in replies] == [2, 2]


def test_a_helper_that_cannot_load_the_model_says_so(peer: Peer, tiny_model_folder: Path) -> None:
    order = SetUp(
        config={"dtype": "float32"},
        device="cpu",
        model_name=str(tiny_model_folder / "nowhere"),
        max_completion_length=5,
        sample_chats=[],
    )
    with pytest.raises(HelperFailed, match="nowhere"):
        peer.helpers.set_up(order).result()


def test_a_helper_that_dies_is_noticed_at_once() -> None:
    doomed = start_peer(2)
    doomed.processes[0].kill()
    with pytest.raises(RankLost, match="ended or cannot be reached"):
        doomed.helpers.ask([Sample(prompts=[], copies=0, greedy=True, seed=0)]).result(timeout=60)
    doomed.helpers.close()
    assert doomed.processes[0].wait(timeout=60) < 0


@given(st.integers(1, 20), st.integers(1, 20), st.integers(2, 9))
def test_every_answer_is_sampled_once_and_rank_zero_always_has_something_to_do(
    prompts: int, copies: int, size: int
) -> None:
    parts = deal(prompts, copies, size)
    sampled = [0] * prompts
    for part in parts:
        for index in part.prompts:
            sampled[index] += part.copies
    assert len(parts) == size
    assert sampled == [copies] * prompts
    assert parts[0].prompts and parts[0].copies

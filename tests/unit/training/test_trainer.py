"""One step of the swarm's trainer is one step of GRPO, however it is cut up and packed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOTrainer

from rgym_exp.training.rollout import Rollout, logged_weight_statistics
from rgym_exp.training.trainer import SwarmTrainer, swarm_reward
from tests.unit.training.conftest import (
    GROUP_SIZE,
    GROUPS,
    MakeTrainer,
    arguments,
    change,
    make_rollout,
    placeholder_data,
    weights_of,
)


def step_of(trainer: Any) -> torch.Tensor:
    before = weights_of(trainer)
    trainer.train()
    return change(before, weights_of(trainer))


def plain_trl_step(tiny_model_folder: Path, tmp_path: Path, **changes: Any) -> torch.Tensor:
    """The same rollout through an untouched GRPOTrainer."""

    def rollout_func(prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
        rollout = make_rollout()
        return {
            "prompt_ids": rollout.prompt_ids,
            "completion_ids": rollout.completion_ids,
            "logprobs": None,
            "reward": rollout.rewards,
        }

    return step_of(
        GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32),
            reward_funcs=swarm_reward,  # type: ignore[arg-type]
            rollout_func=rollout_func,
            processing_class=AutoTokenizer.from_pretrained(tiny_model_folder),
            train_dataset=placeholder_data(),
            args=arguments(tmp_path, **changes),
        )
    )


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "bnpo", "dr_grpo"])
@pytest.mark.parametrize("shared_prompt", [True, False])
def test_the_step_is_trls_whatever_the_loss_and_the_size_of_the_parts(
    make_trainer: MakeTrainer, tiny_model_folder: Path, tmp_path: Path, loss_type: str, shared_prompt: bool
) -> None:
    theirs = plain_trl_step(tiny_model_folder, tmp_path, loss_type=loss_type)
    assert theirs.abs().max() > 1e-4
    for groups_at_once in (1, GROUPS):
        ours = step_of(make_trainer(loss_type=loss_type, shared_prompt=shared_prompt, groups_at_once=groups_at_once))
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("shared_prompt", [True, False])
def test_with_a_kl_term_zero_advantage_groups_still_count(
    make_trainer: MakeTrainer, tiny_model_folder: Path, tmp_path: Path, shared_prompt: bool
) -> None:
    # Its gradient is 0 as long as the policy is the reference, so it takes two steps to see it.
    changes: dict[str, Any] = {"beta": 0.5, "max_steps": 2, "learning_rate": 0.1}
    theirs = plain_trl_step(tiny_model_folder, tmp_path, **changes)
    for groups_at_once in (1, GROUPS):
        ours = step_of(make_trainer(shared_prompt=shared_prompt, groups_at_once=groups_at_once, **changes))
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("shared_prompt", [True, False])
def test_two_steps_a_round_are_trls_two_iterations_over_one_batch(
    make_trainer: MakeTrainer, tiny_model_folder: Path, tmp_path: Path, shared_prompt: bool
) -> None:
    theirs = plain_trl_step(tiny_model_folder, tmp_path, num_iterations=2, max_steps=2)
    once = plain_trl_step(tiny_model_folder, tmp_path)
    assert not torch.allclose(theirs, 2 * once, atol=1e-5)
    for groups_at_once in (1, GROUPS):
        trainer = make_trainer(shared_prompt=shared_prompt, groups_at_once=groups_at_once, steps_per_round=2)
        assert torch.allclose(step_of(trainer), theirs, atol=1e-5)
        # To everybody else a round is one step.
        assert trainer.state.global_step == 1


def test_between_two_steps_the_gradient_is_clipped_as_before_the_last(
    make_trainer: MakeTrainer, tiny_model_folder: Path, tmp_path: Path
) -> None:
    theirs = plain_trl_step(tiny_model_folder, tmp_path, num_iterations=2, max_steps=2, max_grad_norm=0.01)
    assert torch.allclose(step_of(make_trainer(steps_per_round=2, max_grad_norm=0.01)), theirs, atol=1e-5)


def sampled(logprob: float, *, external: bool = False) -> Rollout:
    """Every token said to have been drawn with this log-probability."""
    rollout = make_rollout(sender=0.0 if external else math.nan)
    rollout.logprobs[:] = [[logprob] * len(row) for row in rollout.completion_ids]
    return rollout


def clip_share_of(trainer: SwarmTrainer) -> float:
    kept = LogKept()
    trainer.add_callback(kept)
    trainer.train()
    return kept.logs["clip_ratio/region_mean"]


def test_a_tokens_ratio_is_to_its_probability_when_it_was_sampled(make_trainer: MakeTrainer) -> None:
    # Of 259 tokens a random model gives each about exp(-5.6). Drawn with far less: every ratio is far above 1, and a
    # better answer's tokens are clipped. Drawn with far more: a worse answer's are.
    rarer, likelier = (clip_share_of(make_trainer(play=lambda at=at: sampled(at))) for at in (-12.0, -1.0))
    assert rarer > 0.2 and likelier > 0.2 and rarer + likelier <= 1.0
    assert clip_share_of(make_trainer()) == 0
    unclipped = step_of(make_trainer(play=lambda: sampled(-1.0), epsilon=0.999, epsilon_high=1e9))
    clipped = step_of(make_trainer(play=lambda: sampled(-1.0)))
    assert not torch.allclose(unclipped, clipped, atol=1e-7)


def test_log_probs_that_are_not_the_policys_own_are_not_taken_for_it(make_trainer: MakeTrainer) -> None:
    assert clip_share_of(make_trainer(play=lambda: sampled(-12.0, external=True))) == 0
    # Of the tokens that top-k leaves over, each is likelier than the policy has it.
    assert clip_share_of(make_trainer(play=lambda: sampled(-12.0), top_k=5)) == 0


def test_the_logged_loss_is_that_of_the_whole_batch(make_trainer: MakeTrainer) -> None:
    whole, parts = make_trainer(), make_trainer(groups_at_once=1)
    for trainer in (whole, parts):
        trainer.train()
    losses = [next(row["loss"] for row in t.state.log_history if "loss" in row) for t in (whole, parts)]
    assert float(losses[0]) == pytest.approx(float(losses[1]), abs=1e-5)


def test_every_step_plays_exactly_one_round(make_trainer: MakeTrainer) -> None:
    rounds = iter(range(100))
    trainer = make_trainer(play=lambda: make_rollout(next(rounds)), max_steps=3)
    trainer.train()
    assert trainer.state.global_step == 3
    assert next(rounds) == 3


def test_a_zero_advantage_batch_changes_no_weight_and_still_counts_as_a_step(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(play=lambda: make_rollout(groups=1), groups=1)
    assert step_of(trainer).abs().max() == 0
    assert trainer.state.global_step == 1
    # And has the figures of any other.
    assert next(float(row["entropy"]) for row in trainer.state.log_history if "entropy" in row) > 0


def test_a_sender_that_was_surer_than_we_are_weighs_less_and_never_more(make_trainer: MakeTrainer) -> None:
    trusted = step_of(make_trainer(play=lambda: make_rollout(sender=0.0)))
    surer = step_of(make_trainer(play=lambda: make_rollout(sender=0.0), weigh_external=True))
    liar = step_of(make_trainer(play=lambda: make_rollout(sender=-50.0), weigh_external=True))
    own = step_of(make_trainer(weigh_external=True))
    assert torch.allclose(surer, 0.8 * trusted, atol=1e-6)
    assert torch.allclose(liar, trusted, atol=1e-6)
    assert torch.allclose(own, trusted, atol=1e-6)


class LogKept(TrainerCallback):
    """Keeps what was logged of the step."""

    def __init__(self) -> None:
        self.logs: dict[str, float] = {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.logs.update(logs)


def weights_logged(trainer: SwarmTrainer) -> dict[str, float]:
    kept = LogKept()
    trainer.add_callback(kept)
    trainer.train()
    return logged_weight_statistics(kept.logs)


def test_a_step_with_external_groups_logs_what_they_weighed(make_trainer: MakeTrainer) -> None:
    trusting = weights_logged(make_trainer(play=lambda: make_rollout(sender=0.0)))
    assert trusting == {"mean": 1.0, "min": 1.0, "max": 1.0, "share_below_one": 0.0}
    # Nobody is surer than a sender whose every token had a probability of 1, and nobody less sure than the liar.
    surer = weights_logged(make_trainer(play=lambda: make_rollout(sender=0.0), weigh_external=True))
    assert surer == {name: pytest.approx(value) for name, value in
                     {"mean": 0.8, "min": 0.8, "max": 0.8, "share_below_one": 1.0}.items()}  # fmt: skip
    liar = weights_logged(make_trainer(play=lambda: make_rollout(sender=-50.0), weigh_external=True))
    assert liar == trusting


def test_a_step_on_local_groups_alone_logs_no_weights(make_trainer: MakeTrainer) -> None:
    assert weights_logged(make_trainer()) == {}
    assert weights_logged(make_trainer(weigh_external=True)) == {}


def mixed_rollout() -> Rollout:
    """A local and an external group with an advantage, and one without; half of the senders were surer than we are."""
    rollout = make_rollout()
    for row in range(GROUP_SIZE, 2 * GROUP_SIZE):
        rollout.external[row] = True
        rollout.sender_mean_logprobs[row] = 0.0 if row % 2 else -50.0
    return rollout


@pytest.mark.parametrize("groups_at_once", [1, GROUPS])
def test_only_external_completions_are_counted_however_the_batch_is_cut_up(
    make_trainer: MakeTrainer, groups_at_once: int
) -> None:
    logged = weights_logged(make_trainer(play=mixed_rollout, weigh_external=True, groups_at_once=groups_at_once))
    expected = {"mean": 0.9, "min": 0.8, "max": 1.0, "share_below_one": 0.5}
    assert logged == {name: pytest.approx(value) for name, value in expected.items()}


class SmallMemory(SwarmTrainer):
    """Runs out of memory, as PyTorch does, with more than one group at once."""

    def compute_loss(self, model: Any, inputs: Any, **kwargs: Any) -> Any:
        if inputs["advantages"].size(0) > self._group_size:
            raise torch.OutOfMemoryError("tried to allocate too much")
        return super().compute_loss(model, inputs, **kwargs)


def test_out_of_memory_halves_the_parts_and_loses_nothing_of_the_step(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(kind=SmallMemory)
    assert torch.allclose(step_of(trainer), step_of(make_trainer()), atol=1e-6)
    assert trainer.groups_at_once == 1


class FailsLate(SwarmTrainer):
    """Runs out of memory at its second part, unless every part is one group."""

    parts = 0

    def compute_loss(self, model: Any, inputs: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(model, inputs, **kwargs)
        self.parts += 1
        if self.groups_at_once > 1 and self.parts == 2:
            raise torch.OutOfMemoryError("tried to allocate too much")
        return loss


def test_parts_done_again_after_out_of_memory_count_their_weights_once(make_trainer: MakeTrainer) -> None:
    def play() -> Rollout:
        rollout = make_rollout(groups=4, sender=-50.0)
        rollout.sender_mean_logprobs[:GROUP_SIZE] = [0.0] * GROUP_SIZE
        return rollout

    trainer = make_trainer(kind=FailsLate, play=play, groups=4, groups_at_once=2, weigh_external=True)
    # Three groups have an advantage. A first part counted twice would make it two of five that weigh less, not one of
    # three.
    assert weights_logged(trainer)["share_below_one"] == pytest.approx(1 / 3)
    assert trainer.groups_at_once == 1


def test_a_resumed_trainer_goes_on_as_if_it_had_never_stopped(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    def trainer(first_round: int, steps: int) -> SwarmTrainer:
        rounds = iter(range(first_round, 100))
        return make_trainer(play=lambda: make_rollout(next(rounds)), max_steps=steps, optim="adamw_torch")

    through = trainer(0, 4)
    through.train()
    first = trainer(0, 2)
    first.train()
    folder = first.write_checkpoint(tmp_path / "checkpoint")
    second = trainer(2, 4)
    second.train(resume_from_checkpoint=str(folder))
    assert second.state.global_step == 4
    assert change(weights_of(through), weights_of(second)).abs().max() < 1e-6


def test_a_learning_rate_that_was_changed_holds_after_a_resume(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    first = make_trainer(optim="adamw_torch", learning_rate=1e-3)
    first.train()
    checkpoint = first.write_checkpoint(tmp_path / "written")
    resumed = make_trainer(optim="adamw_torch", learning_rate=1e-30, max_steps=3)
    before = weights_of(first)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert change(before, weights_of(resumed)).abs().max() == 0

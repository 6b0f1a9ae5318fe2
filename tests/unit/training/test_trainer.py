"""One step of the swarm's trainer is one step of GRPO, however it is cut up and packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOTrainer

from rgym_exp.training.trainer import SwarmTrainer, swarm_reward
from tests.unit.training.conftest import (
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
            reward_funcs=swarm_reward,
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


def test_a_batch_that_teaches_nothing_changes_no_weight_and_still_counts_as_a_step(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(play=lambda: make_rollout(groups=1), groups=1)
    assert step_of(trainer).abs().max() == 0
    assert trainer.state.global_step == 1


def test_a_sender_that_was_surer_than_we_are_weighs_less_and_never_more(make_trainer: MakeTrainer) -> None:
    trusted = step_of(make_trainer(play=lambda: make_rollout(sender=0.0)))
    surer = step_of(make_trainer(play=lambda: make_rollout(sender=0.0), weigh_foreign=True))
    liar = step_of(make_trainer(play=lambda: make_rollout(sender=-50.0), weigh_foreign=True))
    own = step_of(make_trainer(weigh_foreign=True))
    assert torch.allclose(surer, 0.8 * trusted, atol=1e-6)
    assert torch.allclose(liar, trusted, atol=1e-6)
    assert torch.allclose(own, trusted, atol=1e-6)


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

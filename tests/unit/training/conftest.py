"""Rollouts and trainers on the tiny model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from rgym_exp.training.rollout import Rollout
from rgym_exp.training.trainer import SwarmTrainer

GROUPS, GROUP_SIZE = 3, 4

MakeTrainer = Callable[..., SwarmTrainer]


def make_rollout(seed: int = 0, *, groups: int = GROUPS, sender: float = math.nan) -> Rollout:
    """Random prompts and answers of unequal lengths; the last group's rewards are all equal. With ``sender``, the mean
    log-probability that all rows came with, they are external."""
    random = torch.Generator().manual_seed(seed)

    def ids(shortest: int, longest: int) -> list[int]:
        length = int(torch.randint(shortest, longest + 1, (1,), generator=random))
        return torch.randint(10, 200, (length,), generator=random).tolist()

    rollout = Rollout(prompt_ids=[], completion_ids=[], logprobs=[], rewards=[], sender_mean_logprobs=[], external=[])
    for group in range(groups):
        prompt = ids(6, 12)
        for row in range(GROUP_SIZE):
            completion = ids(1, 5)
            rollout.prompt_ids.append(prompt)
            rollout.completion_ids.append(completion)
            rollout.logprobs.append([math.nan] * len(completion))
            rollout.rewards.append(1.0 if group == groups - 1 else float((row + group) % 2))
            rollout.sender_mean_logprobs.append(sender)
            rollout.external.append(not math.isnan(sender))
    return rollout


def arguments(folder: Path, *, groups: int = GROUPS, **changes: Any) -> GRPOConfig:
    """TRL's arguments for a plain gradient step of length 1, so that a change of weights is the gradient."""
    chosen: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": groups * GROUP_SIZE,
        "gradient_accumulation_steps": 1,
        "num_generations": GROUP_SIZE,
        "max_completion_length": 5,
        "max_steps": 1,
        "learning_rate": 1.0,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "loss_type": "dapo",
        "bf16": False,
        "use_cpu": True,
        "activation_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "ignore_data_skip": True,
    }
    return GRPOConfig(**{**chosen, **changes})


def placeholder_data(groups: int = GROUPS) -> Dataset:
    """What TRL walks through while the rollout brings its own prompts."""
    return Dataset.from_dict({"prompt": ["round"] * groups})


@pytest.fixture
def make_trainer(tiny_model_folder: Path, tmp_path: Path) -> Iterator[MakeTrainer]:
    """Makes trainers of the tiny model; ``play`` defaults to one rollout, other keywords are TRL's arguments."""

    def make(
        *,
        play: Callable[[], Rollout] = make_rollout,
        kind: type[SwarmTrainer] = SwarmTrainer,
        groups: int = GROUPS,
        groups_at_once: int = GROUPS,
        shared_prompt: bool = True,
        weigh_external: bool = False,
        steps_per_round: int = 1,
        folder: Path = tiny_model_folder,
        **changes: Any,
    ) -> SwarmTrainer:
        return kind(
            play=play,
            groups_at_once=groups_at_once,
            shared_prompt=shared_prompt,
            weigh_external=weigh_external,
            steps_per_round=steps_per_round,
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            processing_class=AutoTokenizer.from_pretrained(folder),
            train_dataset=placeholder_data(groups),
            args=arguments(tmp_path, groups=groups, **changes),
        )

    yield make


def weights_of(trainer: Any) -> dict[str, torch.Tensor]:
    """The policy's weights as they are now."""
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def change(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> torch.Tensor:
    """All weights' changes in one vector."""
    return torch.cat([(after[name] - before[name]).flatten() for name in before])


def model_of(trainer: SwarmTrainer) -> Any:
    """The model that it trains, which TRL's types say may be missing."""
    return trainer.model

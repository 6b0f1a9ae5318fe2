"""A learner is made to fit the machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rgym_exp.config.schema import TrainingConfig
from rgym_exp.training.build import Learner, build_learner
from rgym_exp.training.hardware import HardwareError, find_hardware
from rgym_exp.training.hub_names import published_name
from rgym_exp.training.memory_estimate import NotEnoughMemory
from tests.unit.training.conftest import GROUP_SIZE, change, make_rollout, model_of, weights_of

GIB = 1024**3


def built(model: Path, *, memory_bytes: int, **changes: Any) -> Learner:
    """On a CPU with so much memory."""
    return build_learner(
        TrainingConfig(device="cpu", dtype="float32", num_generations=GROUP_SIZE, max_rounds=1, **changes),
        replace(find_hardware("cpu"), memory_bytes=memory_bytes),
        model_name=str(model),
        max_completion_length=5,
        sample_chats=[[{"role": "user", "content": "hello"}]],
        play=lambda: make_rollout(groups=8),
    )


def test_on_a_cpu_the_reserve_of_a_gigabyte_and_a_quarter_more_must_be_free(tiny_model_folder: Path) -> None:
    assert built(tiny_model_folder, memory_bytes=int(1.4 * GIB)).plan.needed_bytes > 1.25 * GIB
    with pytest.raises(NotEnoughMemory):
        built(tiny_model_folder, memory_bytes=int(1.2 * GIB))


def test_the_swarm_is_told_a_models_folder_name_and_not_where_it_lies(tiny_model_folder: Path) -> None:
    learner = built(tiny_model_folder, memory_bytes=64 * GIB)
    assert learner.policy.model_name == tiny_model_folder.name
    # What comes from the Hub or from a package has no path to hide.
    assert published_name("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"
    assert published_name("SmolLM2-135M-Instruct") == "SmolLM2-135M-Instruct"
    assert published_name("~/models/mine/") == "mine"


def test_vllm_without_a_gpu_is_refused(tiny_model_folder: Path) -> None:
    with pytest.raises(HardwareError, match=r"training\.use_vllm needs an NVIDIA GPU"):
        built(tiny_model_folder, memory_bytes=64 * GIB, use_vllm=True)


def test_a_run_with_a_kl_term_stays_near_the_model_it_began_with(tiny_model_folder: Path) -> None:
    near, free = (
        built(tiny_model_folder, memory_bytes=64 * GIB, beta=beta, learning_rate=0.01, steps_per_round=4)
        for beta in (5.0, 0.0)
    )
    began = weights_of(near.trainer)
    for learner in (near, free):
        learner.trainer.train()
    assert change(began, weights_of(near.trainer)).norm() > 0
    last = [row for row in near.trainer.state.log_history if "kl" in row][-1]
    assert float(last["kl"]) > 0
    assert not torch.equal(change(began, weights_of(near.trainer)), change(began, weights_of(free.trainer)))
    # And its memory is counted: fp32 weights of the reference model, and a quarter more for waste.
    parameters = sum(weight.numel() for weight in model_of(near.trainer).parameters())
    assert near.plan.needed_bytes - free.plan.needed_bytes == pytest.approx(1.25 * 4 * parameters, abs=2)


def test_a_kl_term_under_lora_needs_no_second_model(tiny_model_folder: Path) -> None:
    learner = built(tiny_model_folder, memory_bytes=64 * GIB, beta=0.1, lora=True, lora_rank=2)
    plain = built(tiny_model_folder, memory_bytes=64 * GIB, lora=True, lora_rank=2)
    assert learner.plan.needed_bytes == plain.plan.needed_bytes
    learner.trainer.train()
    assert learner.trainer.state.global_step == 1

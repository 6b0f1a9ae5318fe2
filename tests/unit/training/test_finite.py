"""What isn't finite gets into no weights, no checkpoint and no repository."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from rgym_exp.training.finite import MOST_SKIPPED_IN_A_ROW, NotFinite, is_finite
from rgym_exp.training.models import ModelError, load_model
from rgym_exp.training.trainer import Batch, SwarmTrainer
from tests.unit.training.conftest import MakeTrainer, change, model_of, weights_of


class Spoilt:
    """Takes the gradient, and spoils that of these steps (counted from 1)."""

    def __init__(self, number: float, *steps: int) -> None:
        self._number = number
        self._steps = steps
        self._step = 0

    def __call__(self, trainer: SwarmTrainer, model: nn.Module, batch: Batch, groups: list[int]) -> Tensor:
        loss = trainer.take_gradient(model, batch, groups)
        self._step += 1
        if self._step in self._steps:
            gradient = trainer.trained_weights()[0].grad
            assert gradient is not None
            gradient.view(-1)[0] = self._number
        return loss


@pytest.mark.parametrize("number", [math.nan, math.inf, 1e30], ids=["nan", "infinite", "an infinite norm"])
@pytest.mark.parametrize("optim", ["sgd", "adamw_torch"])
@pytest.mark.parametrize("max_grad_norm", [0.0, 1.0])
def test_a_step_without_a_finite_gradient_changes_nothing_and_is_said(
    make_trainer: MakeTrainer, number: float, optim: str, max_grad_norm: float, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(optim=optim, max_grad_norm=max_grad_norm)
    trainer.gradient = Spoilt(number, 1)
    before = weights_of(trainer)
    with caplog.at_level(logging.WARNING, logger="rl_swarm.training"):
        trainer.train()
    assert change(before, weights_of(trainer)).abs().max() == 0
    assert "the step is skipped and the model stays as it is" in caplog.text


def test_the_step_after_a_skipped_one_is_made(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(max_steps=2)
    trainer.gradient = Spoilt(math.nan, 1)
    before = weights_of(trainer)
    trainer.train()
    assert change(before, weights_of(trainer)).abs().max() > 0
    assert trainer.guard.skipped_in_a_row == 0


def test_many_skipped_in_a_row_end_the_run_and_save_nothing(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(max_steps=100)
    trainer.gradient = Spoilt(math.nan, *range(2, 100))
    with pytest.raises(NotFinite, match=rf"{MOST_SKIPPED_IN_A_ROW} steps in a row .* lower training.learning_rate"):
        trainer.train()
    with pytest.raises(NotFinite, match="without saving it"):
        trainer.write_checkpoint(tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_a_learning_rate_beyond_reason_leaves_no_spoilt_checkpoint(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(max_steps=100, optim="adamw_torch", learning_rate=1e20)
    with pytest.raises(NotFinite):
        trainer.train()
    with pytest.raises(NotFinite):
        trainer.write_checkpoint(tmp_path / "never")


def written_by(name: str) -> Callable[[Any, Path], object]:
    return lambda trainer, folder: getattr(trainer, name)(folder)


@pytest.mark.parametrize("write", [written_by("write_checkpoint"), written_by("write_model")], ids=["saved", "pushed"])
@pytest.mark.parametrize("number", [math.nan, -math.inf])
def test_weights_that_are_not_finite_are_never_written(
    make_trainer: MakeTrainer, tmp_path: Path, write: Callable[[Any, Path], object], number: float
) -> None:
    trainer = make_trainer()
    with torch.no_grad():
        model_of(trainer).model.norm.weight[2] = number
    with pytest.raises(NotFinite, match=r"no finite numbers any more \(model.norm.weight\)"):
        write(trainer, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_a_model_with_numbers_that_are_not_finite_is_refused_at_load(tiny_model_folder: Path, tmp_path: Path) -> None:
    for file in tiny_model_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    with torch.no_grad():
        model.model.norm.weight[0] = math.nan
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"not finite \(model.norm.weight\)"):
        load_model(str(tmp_path))


def test_large_numbers_are_finite_though_their_sum_is_not() -> None:
    assert is_finite([torch.full((4,), 3e38)])
    assert not is_finite([torch.ones(3), torch.tensor([1.0, math.inf, -math.inf])])

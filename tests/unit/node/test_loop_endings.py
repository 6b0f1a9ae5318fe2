"""The end of a step: its report is written whatever happens then, and a checkpoint that fails ends nothing."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer, TrainerControl, TrainerState, TrainingArguments

from rgym_exp.node.interrupts import Interrupts, StopRequested
from rgym_exp.node.loop import RoundLoop
from rgym_exp.training.checkpoint import CheckpointError
from rgym_exp.training.policy import ChatTokens
from simulation.memory_observers import MemoryProgress, MemoryTracker
from tests.unit.node.conftest import MakeComponents, settings


class OneStep:
    """A loop in the hands of a trainer that makes one step."""

    def __init__(self, components: MakeComponents, model: Path, folder: Path) -> None:
        self.tracker = MemoryTracker()
        self.saves = 0
        self.guard = Interrupts(lambda: None, lambda lost: None)
        self._arguments = TrainingArguments(output_dir=str(folder), use_cpu=True)
        self._make_components = components
        self._tokens = ChatTokens(AutoTokenizer.from_pretrained(model), 16)

    def make(
        self, *, in_step: Callable[[], None] = lambda: None, save: Callable[[], None] = lambda: None, every: int = 0
    ) -> RoundLoop:
        """Play a round, with something happening in its optimizer step."""
        loop = RoundLoop(
            self._make_components("ada", evaluate_every=every),
            settings(),
            tokens=self._tokens,
            progress=MemoryProgress(),
            tracker=self.tracker,
            interrupts=self.guard,
            save=save,
            after_round=lambda report: None,
            checkpoint_seconds=0,
            last_round=None,
            last_interim=0,
            steps=0,
        )
        state, control = TrainerState(global_step=1), TrainerControl()
        loop.play()
        loop.on_pre_optimizer_step(self._arguments, state, control)
        in_step()
        loop.on_log(self._arguments, state, control, logs={"loss": 0.5})
        return loop


@pytest.fixture
def one_step(make_components: MakeComponents, tiny_model_folder: Path, tmp_path: Path) -> OneStep:
    return OneStep(make_components, tiny_model_folder, tmp_path)


@pytest.mark.parametrize("every", [0, 1])
def test_a_step_during_which_a_stop_came_is_reported_before_the_stop(one_step: OneStep, every: int) -> None:
    with one_step.guard:
        with pytest.raises(StopRequested):
            one_step.make(in_step=lambda: os.kill(os.getpid(), signal.SIGINT), every=every)
        assert [report.step for report in one_step.tracker.reports] == [1]
        assert one_step.tracker.reports[0].held_out is None


def test_a_report_has_its_evaluation(one_step: OneStep) -> None:
    one_step.make(every=1)
    assert [report.held_out for report in one_step.tracker.reports] == [1.0]


def test_a_checkpoint_that_fails_meanwhile_is_told_and_training_goes_on(
    one_step: OneStep, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise CheckpointError("The checkpoint of step 1 could not be written.")

    with caplog.at_level(logging.WARNING, logger="rl_swarm.node"):
        loop = one_step.make(save=fail)
    assert loop.last_round is not None
    assert "could not be written. Training goes on" in caplog.text

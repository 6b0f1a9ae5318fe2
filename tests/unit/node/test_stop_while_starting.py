"""A Ctrl-C while the node is still getting ready."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import pytest

from rgym_exp.config.load import load_config
from rgym_exp.config.paths import Home
from rgym_exp.node.interrupts import Interrupts
from rgym_exp.node.node import NodeOptions, run_node
from simulation.memory_observers import MemoryProgress
from simulation.memory_tasks import MemoryTasks


def interrupted_tasks() -> MemoryTasks:
    """Tasks during whose making somebody presses Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    return MemoryTasks()


def test_a_stop_before_the_first_round_is_an_orderly_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = Home(root=tmp_path, identity_path=None)
    tasks = f"tasks._target_={__name__}.interrupted_tasks"
    config = load_config(home, network="offline", overrides=["training.model_name=any", tasks], environ={})
    progress = MemoryProgress()
    with (
        caplog.at_level(logging.INFO, logger="rl_swarm.node"),
        Interrupts(lambda: None, lambda lost: None) as interrupts,
    ):
        run_node(NodeOptions(config=config, home=home, progress=progress, interrupts=interrupts))
    assert "Stopping, as asked." in caplog.text
    assert progress.reports == []

"""The default model on the default tasks, as in somebody's first swarm: real weights and rewards, on this CPU."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from rgym_exp.training.bundled import bundled_model_folder
from tests.support.processes import HubProgram, NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

SETTINGS = ("training.device=cpu", "training.max_rounds=1", "eval.items=4")
"""A run has one round and evaluates fewer problems after it; everything else is what a first run has."""
ALL_CORES = {"OMP_NUM_THREADS": str(os.cpu_count() or 1)}


def test_the_small_model_learns_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    with HubProgram(tmp_path / "hub") as hub:
        invite = hub.invite()
        assert (invite.tasks, invite.model_name) == ("starter", "SmolLM2-135M-Instruct")
        with NodeProgram(tmp_path / "node", None, *SETTINGS, invite=invite, environ=ALL_CORES) as node:
            wait_for(lambda: hub.hub_status()["peers"], what="the node among the hub's peers", programs=(hub, node))
            assert node.wait(300) == 0
            assert "Traceback" not in node.output()
        wait_for(
            lambda: not hub.hub_status()["peers"], what="the hub's peers without the one that left", programs=(hub,)
        )
        with NodeProgram(tmp_path / "node", None, *SETTINGS, invite=invite, environ=ALL_CORES) as again:
            assert again.wait(300) == 0
        assert "Resuming after step 1" in again.output()
        reports = again.reports()
        assert [report.step for report in reports] == [1, 2]
        assert reports[1].round > reports[0].round
        for report in reports:
            assert 0 <= report.local_reward <= 1
            assert math.isfinite(report.loss)
            assert math.isfinite(report.grad_norm)
            assert report.entropy > 0
            assert report.local_groups == 8
            assert report.held_out is not None  # after a run's last round
        # Untrained, the model answers few questions: now and then both rounds bring only zero-advantage groups.
        has_advantage = any(report.zero_advantage_share < 1 for report in reports)
        assert any(report.grad_norm > 0 for report in reports) == has_advantage
        assert (changed_share(again, step=2) > 0.5) == has_advantage


def changed_share(node: NodeProgram, *, step: int) -> float:
    """Share of the weights that differ from those of the model as it comes."""
    before = load_file(bundled_model_folder() / "model.safetensors")
    (checkpoint,) = node.home.checkpoints.glob(f"step-{step:08d}-*")
    after = load_file(checkpoint / "model.safetensors")
    assert set(after) == set(before)
    changed = sum(int(np.count_nonzero(after[name] != before[name])) for name in before)
    return changed / sum(before[name].size for name in before)

"""Changing the model, and files that are cut short: what was trained is still there."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.processes import NodeProgram

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def run(home: Path, model: Path, rounds: int) -> NodeProgram:
    """A run of so many rounds that ended well."""
    with NodeProgram(home, model, f"training.max_rounds={rounds}", "blockchain.round_seconds=1") as node:
        assert node.wait() == 0, node.output()
        return node


def steps(node: NodeProgram) -> list[int]:
    return sorted(int(folder.name.split("-")[1]) for folder in node.home.checkpoints.glob("step-*"))


def test_after_a_change_of_model_both_models_are_gone_on_with(tmp_path: Path, tiny_model_folder: Path) -> None:
    first, second = (shutil.copytree(tiny_model_folder, tmp_path / name) for name in ("first", "second"))
    home = tmp_path / "home"
    run(home, first, 4)
    node = run(home, second, 1)
    assert 1 in steps(node)
    assert f"of {first} (step 4). It is kept" in node.log()
    node = run(home, first, 1)
    assert node.reports()[-1].step == 5
    node = run(home, second, 1)
    assert node.reports()[-1].step == 2


def test_a_damaged_newest_checkpoint_bars_no_start(tmp_path: Path, tiny_model_folder: Path) -> None:
    home = tmp_path / "home"
    run(home, tiny_model_folder, 2)
    node = run(home, tiny_model_folder, 1)
    newest = max(node.home.checkpoints.glob("step-*"))
    (newest / "optimizer.pt").write_bytes((newest / "optimizer.pt").read_bytes()[:100])
    node = run(home, tiny_model_folder, 1)
    assert "optimizer.pt: " in node.log() and "Training goes on from the one of step 2" in node.log()
    assert node.reports()[-1].step == 3
    assert "Traceback" not in node.output()


def test_closing_the_terminal_costs_nothing(tmp_path: Path, tiny_model_folder: Path) -> None:
    with NodeProgram(tmp_path / "home", tiny_model_folder, "training.checkpoint_minutes=60") as node:
        node.wait_for_rounds(2)
        for _ in range(2):
            os.killpg(node.process.pid, signal.SIGHUP)
        assert node.wait() == 0
        record = node.checkpoint()
        assert record is not None and record.step == node.reports()[-1].step


def test_ctrl_c_twice_says_what_is_gone(tmp_path: Path, tiny_model_folder: Path) -> None:
    with NodeProgram(tmp_path / "home", tiny_model_folder, "training.checkpoint_minutes=60") as node:
        node.wait_for_rounds(2)
        with node.frozen():
            # Both are there when it goes on, whatever it was at.
            node.signal(signal.SIGINT)
            node.signal(signal.SIGTERM)
        assert node.wait() in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        gone = re.search(r"Ended at once: (\d+) rounds lost, which is all", node.output())
        assert gone is not None and int(gone[1]) >= 2
        assert node.checkpoint() is None


def test_a_learning_rate_that_destroys_the_model_ends_the_run_and_costs_no_checkpoint(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    home = tmp_path / "home"
    run(home, tiny_model_folder, 1)
    rate = ("training.learning_rate=1e20", "training.checkpoint_minutes=0.001", "blockchain.round_seconds=0.5")
    with NodeProgram(home, tiny_model_folder, *rate) as node:
        assert node.wait() == 1
        assert "in a row was not finite" in node.output()
        assert "can't be used (no step after it had a finite gradient)" in node.log()
        assert "Traceback" not in node.output()
    node = run(home, tiny_model_folder, 1)
    assert "is not finite" not in node.output()

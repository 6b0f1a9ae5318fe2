"""One peer of several processes, as ``accelerate launch`` and ``torchrun`` start it."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from tests.support.processes import NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SETTINGS = ("blockchain.round_seconds=1", "training.checkpoint_minutes=60")


def rank(node: NodeProgram, number: int) -> psutil.Process:
    """One of its processes, by what the launcher told it."""
    return next(child for child in node.children() if child.environ().get("RANK") == str(number))


def rank_log(node: NodeProgram) -> str:
    return (node.home.logs / "rank-1.log").read_text()


def wait_until_nothing_is_left(node: NodeProgram) -> None:
    wait_for(lambda: node.status is not None and not node.children(), what=f"the end of all of {node.name}")


def test_two_processes_are_one_peer_that_ends_as_one_and_that_one_process_can_resume(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    with NodeProgram(tmp_path, tiny_model_folder, *SETTINGS, launcher=TORCHRUN) as node:
        node.wait_for_rounds(3)
        assert rank(node, 1).is_running()
        node.children()
        node.signal(signal.SIGINT)
        wait_until_nothing_is_left(node)
        last = node.reports()[-1]
        record = node.checkpoint()
        assert record is not None and (record.step, record.round) == (last.step, last.round)
        assert "Rank 0 is done" in rank_log(node)
        # One node, one log and one set of metrics, however many processes.
        assert [report.step for report in node.reports()] == list(range(1, last.step + 1))
        assert node.log().count("2 x cpu") == 1
    with NodeProgram(tmp_path, tiny_model_folder, *SETTINGS, "training.max_rounds=2") as alone:
        wait_for(lambda: alone.status is not None, what="two rounds more")
        assert alone.status == 0, alone.last_words()
        assert [report.step for report in alone.reports()[-2:]] == [last.step + 1, last.step + 2]


@pytest.mark.parametrize("victim", [0, 1])
def test_the_death_of_one_process_ends_the_others(tmp_path: Path, tiny_model_folder: Path, victim: int) -> None:
    with NodeProgram(tmp_path, tiny_model_folder, *SETTINGS, launcher=TORCHRUN) as node:
        node.wait_for_rounds(2)
        node.children()
        rank(node, victim).kill()
        wait_until_nothing_is_left(node)
        assert node.status not in (0, None)
        if victim == 0:
            assert "ended or cannot be reached" in rank_log(node)
        else:
            # The node itself was alive, and loses nothing.
            record = node.checkpoint()
            assert record is not None and record.step == node.reports()[-1].step


def test_a_run_of_so_many_rounds_ends_all_processes_by_itself(tmp_path: Path, tiny_model_folder: Path) -> None:
    settings = (*SETTINGS, "training.max_rounds=2", "eval.every_rounds=1", "eval.items=3")
    # accelerate's launcher is torchrun's with variables of its own.
    with NodeProgram(tmp_path, tiny_model_folder, *settings, launcher=ACCELERATE) as node:
        wait_until_nothing_is_left(node)
        assert node.status == 0, node.last_words()
        assert node.log().count("2 x cpu") == 1
        assert [report.held_out is not None for report in node.reports()] == [True, True]
        assert "Rank 0 is done" in rank_log(node)


def test_a_mistake_of_the_user_is_told_once_and_ends_all_processes(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with NodeProgram(tmp_path / "home", nowhere, *SETTINGS, launcher=TORCHRUN) as node:
        wait_until_nothing_is_left(node)
        assert node.status not in (0, None)
        assert node.output().count(f"There is no folder {nowhere}") == 1

"""Nodes whose machines' clocks are wrong by much: they hear, are heard, and it is said once."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.support.processes import REPOSITORY, HubProgram, NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

_SET_CLOCK = """
import time

right = time.time
time.time = lambda: right() + {ahead}
"""
"""Run by Python before anything else. hivemind and we read the machine's clock through this name."""


@pytest.mark.parametrize(
    ("ahead", "said"), [(-2400, "40 min behind the hub's"), (3600, "60 min ahead of the hub's")], ids=["slow", "fast"]
)
def test_a_node_whose_clock_is_wrong_hears_and_is_heard(
    tmp_path: Path, tiny_model_folder: Path, ahead: int, said: str
) -> None:
    clock = tmp_path / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(_SET_CLOCK.format(ahead=ahead))
    with (
        HubProgram(tmp_path / "hub", "--round-minimum", "0.5") as hub,
        NodeProgram(tmp_path / "right", tiny_model_folder, invite=hub.invite()) as right,
        NodeProgram(
            tmp_path / "wrong",
            tiny_model_folder,
            invite=hub.invite(),
            environ={"PYTHONPATH": f"{clock}:{REPOSITORY}"},
            launcher=["-B"],  # as a process of its own, which looks for sitecustomize
        ) as wrong,
    ):
        programs = (hub, right, wrong)
        for node, other in ((right, wrong), (wrong, right)):
            wait_for(partial(hears, node, other.peer_id), what=f"the other's answers in {node.name}", programs=programs)
        wait_for(lambda: said in wrong.output(), what="a word about the wrong clock", programs=programs)
        assert wrong.output().count("This machine's clock is") == 1
        assert "This machine's clock is" not in right.output()


def hears(node: NodeProgram, peer_id: str) -> bool:
    return any(peer_id in report.external_peers for report in node.reports())

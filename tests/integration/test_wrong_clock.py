"""Nodes whose machines' clocks are wrong by much: they hear, are heard, and it is said once."""

from __future__ import annotations

from functools import partial
from itertools import permutations
from pathlib import Path

import pytest

from rgym_exp.config.invite import Invite
from tests.support.processes import REPOSITORY, HubProgram, NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

_SET_CLOCK = """
import time

right = time.time
time.time = lambda: right() + {ahead}
"""
"""Run by Python before anything else. hivemind and we read the machine's clock through this name."""


def test_nodes_whose_clocks_are_wrong_hear_and_are_heard(tmp_path: Path, tiny_model_folder: Path) -> None:
    with (
        HubProgram(tmp_path / "hub", "--round-minimum", "0.5") as hub,
        NodeProgram(tmp_path / "right", tiny_model_folder, invite=hub.invite()) as right,
        node_ahead(-2400, tmp_path / "slow", tiny_model_folder, hub.invite()) as slow,
        node_ahead(3600, tmp_path / "fast", tiny_model_folder, hub.invite()) as fast,
    ):
        nodes = (right, slow, fast)
        for node, other in permutations(nodes, 2):
            wait_for(
                partial(hears, node, other.peer_id),
                what=f"answers of {other.name} in {node.name}",
                programs=(hub, *nodes),
            )
        for node, said in ((slow, "40 min behind the hub's"), (fast, "60 min ahead of the hub's")):
            wait_for(partial(has_said, node, said), what=f"a word about {node.name}'s clock", programs=(hub, *nodes))
            assert node.output().count("This machine's clock is") == 1
        assert "This machine's clock is" not in right.output()


def node_ahead(seconds: int, home: Path, model: Path, invite: Invite) -> NodeProgram:
    """A node on a machine whose clock is ahead, or behind, by so much."""
    clock = home / "clock"
    clock.mkdir(parents=True)
    (clock / "sitecustomize.py").write_text(_SET_CLOCK.format(ahead=seconds))
    return NodeProgram(
        home,
        model,
        invite=invite,
        environ={"PYTHONPATH": f"{clock}:{REPOSITORY}"},
        launcher=["-B"],  # as a process of its own, which looks for sitecustomize
    )


def has_said(node: NodeProgram, words: str) -> bool:
    return words in node.output()


def hears(node: NodeProgram, peer_id: str) -> bool:
    return any(peer_id in report.external_peers for report in node.reports())

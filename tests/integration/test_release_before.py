"""The release before this one, out of its wheel, beside this one: they meet, and whoever is left out is told."""

from __future__ import annotations

import os
import zipfile
from functools import partial
from pathlib import Path

import pytest

from rgym_exp.types import PROTOCOL
from tests.support.processes import REPOSITORY, HubProgram, NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

WHEEL = REPOSITORY / "tests" / "support" / "releases" / "rl_swarm-0.1.0-py3-none-any.whl"
"""The last release that speaks protocol 1."""
_EARLIER = "Some peers run an earlier version of RL Swarm"


def test_a_node_of_the_release_before_is_heard_and_plays_on_and_this_one_says_what_to_do(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(tmp_path / "release")
    path = os.pathsep.join([str(tmp_path / "release"), str(REPOSITORY)])
    with (
        HubProgram(tmp_path / "hub", "--round-minimum", "0.5") as hub,
        NodeProgram(tmp_path / "now", tiny_model_folder, invite=hub.invite()) as now,
        NodeProgram(
            tmp_path / "before",
            tiny_model_folder,
            invite=hub.invite(),
            environ={"PYTHONPATH": path},
            launcher=["-B"],  # as a process of its own: a copy would be of this version
        ) as before,
    ):
        programs = (hub, now, before)
        assert hub.invite().protocol == PROTOCOL > 1
        wait_for(partial(hears, now, before.peer_id), what="the earlier node's answers in this one", programs=programs)
        wait_for(lambda: _EARLIER in now.output(), what="a word about the earlier version", programs=programs)
        before.wait_for_rounds(3, hub, now)
        now.wait_for_rounds(3, hub, before)
        assert now.output().count(_EARLIER) == 1
        assert "Ask them to update" in now.output()
        assert any(report.dropped.get("record_version") for report in before.reports())
        for program in programs:
            assert "Traceback" not in program.output() + program.log()


def hears(node: NodeProgram, peer_id: str) -> bool:
    return any(peer_id in report.external_peers for report in node.reports())

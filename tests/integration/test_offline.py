"""Network offline: no hub and no chain, a clock makes the rounds; each with real processes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from rgym_exp.base.ports import free_port
from tests.support.processes import NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_alone_nobody_waits_for_the_clock(tmp_path: Path, tiny_model_folder: Path) -> None:
    # By the clock the second of these rounds would begin within a day.
    with NodeProgram(tmp_path, tiny_model_folder, "blockchain.round_seconds=86400") as node:
        rounds = node.wait_for_rounds(5)
        node.ctrl_c()
        assert node.wait() == 0
    assert [report.step for report in rounds] == [1, 2, 3, 4, 5]
    assert len({report.number for report in rounds}) == 5


def test_whoever_comes_to_a_node_that_was_alone_trains_with_it(tmp_path: Path, tiny_model_folder: Path) -> None:
    port = free_port()
    clock = "blockchain.round_seconds=3"
    with NodeProgram(tmp_path / "ada", tiny_model_folder, clock, f"communications.port={port}") as ada:
        ada.wait_for_rounds(3)
        way = f"communications.bootnodes=[/ip4/127.0.0.1/tcp/{port}/p2p/{ada.peer_id}]"
        with NodeProgram(tmp_path / "bea", tiny_model_folder, clock, way) as bea:
            for node, other in ((ada, bea), (bea, ada)):
                wait_for(
                    partial(trained_with, node, other.peer_id),
                    what=f"groups of {other.name} in a round of {node.name}",
                    programs=(ada, bea),
                )
            # Both keep to the clock now.
            assert [report.interim for report in ada.wait_for_rounds(3, bea)[1:]] == [0, 0]


def trained_with(node: NodeProgram, peer_id: str) -> bool:
    return any(peer_id in report.external_peers for report in node.reports())

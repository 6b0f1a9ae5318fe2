"""A node that is stopped in a swarm whose rounds wait for everybody."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import HubProgram, NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def ctrl_c(node: NodeProgram) -> None:
    """At its terminal."""
    node.ctrl_c()


def stop_service(node: NodeProgram) -> None:
    """As systemd does unless told otherwise: SIGTERM to every process of the service, in any order."""
    for child in node.children():
        child.terminate()
    node.signal(signal.SIGTERM)


@pytest.mark.parametrize("stop", [ctrl_c, stop_service])
def test_a_node_that_is_stopped_keeps_nobody_waiting_and_may_come_back(
    tmp_path: Path, tiny_model_folder: Path, stop: Callable[[NodeProgram], None]
) -> None:
    with (
        HubProgram(tmp_path / "hub", "--round-minimum", "0.5", "--round-limit", "3600") as hub,
        NodeProgram(tmp_path / "ada", tiny_model_folder, invite=hub.invite()) as ada,
    ):
        with NodeProgram(tmp_path / "bea", tiny_model_folder, invite=hub.invite()) as bea:
            wait_for(
                lambda: any(bea.peer_id in report.external_peers for report in ada.reports()),
                what="a round together",
                programs=(hub, ada, bea),
            )
            stop(bea)
            assert bea.wait() == 0
        stopped_in = hub.round
        wait_for(lambda: hub.round >= stopped_in + 3, what="rounds without the one that left", programs=(hub, ada))

        with NodeProgram(tmp_path / "bea", tiny_model_folder, invite=hub.invite()) as bea:
            wait_for(
                lambda: any(ada.peer_id in report.external_peers for report in bea.wait_for_rounds(1)),
                what="a round together again",
                programs=(hub, ada, bea),
            )


def test_a_node_that_was_alone_leaves_its_round_finished(tmp_path: Path, tiny_model_folder: Path) -> None:
    # The node has published a leave notice before the round may end.
    with HubProgram(tmp_path / "hub", "--round-minimum", "10", "--round-limit", "3600") as hub:
        for runs in (1, 2):
            with NodeProgram(tmp_path / "ada", tiny_model_folder, "training.max_rounds=1", invite=hub.invite()) as ada:
                assert ada.wait() == 0
            assert [report.step for report in ada.reports()] == list(range(1, runs + 1))

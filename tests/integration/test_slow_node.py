"""A machine that is slower than its swarm, or was asleep for a while."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import HubProgram, NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def test_a_node_that_fell_behind_skips_the_rounds_it_missed_and_goes_on_with_the_others(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    settings = ("communications.gather_timeout_seconds=2",)
    with (
        HubProgram(tmp_path / "hub", "--round-minimum", "0.5", "--round-limit", "3") as hub,
        NodeProgram(tmp_path / "quick", tiny_model_folder, *settings, invite=hub.invite()) as quick,
        NodeProgram(tmp_path / "slow", tiny_model_folder, *settings, invite=hub.invite()) as slow,
    ):
        everybody = (quick, slow, hub)
        wait_for(lambda: any(r.external_peers for r in slow.reports()), what="company at first", programs=everybody)
        frozen_in = slow.freeze_in("generate", "score", "publish", "gather", "train")
        # The swarm goes on without it, after waiting for it no longer than the limit.
        wait_for(lambda: hub.round >= frozen_in + 4, what="rounds without the slow one", programs=(quick, hub))
        before = len(slow.reports())
        slow.thaw()
        wait_for(
            lambda: any(report.skipped for report in slow.reports()[before:]),
            what="a report that tells of skipped rounds",
            programs=everybody,
        )
        late = next(report for report in slow.reports()[before:] if report.skipped)
        assert late.round >= frozen_in + 4
        wait_for(
            lambda: any(r.round > late.round and quick.peer_id in r.external_peers for r in slow.reports()),
            what="company for the one that was slow",
            programs=everybody,
        )
        wait_for(
            lambda: any(r.round > late.round and slow.peer_id in r.external_peers for r in quick.reports()),
            what="groups of the one that was slow in the rounds of the other",
            programs=everybody,
        )
        steps = [report.step for report in slow.reports()]
        assert steps == list(range(1, len(steps) + 1))

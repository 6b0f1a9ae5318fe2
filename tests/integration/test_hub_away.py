"""The hub goes away, as hosts' machines do: nodes say so, train on after a minute, and join it when it is back."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

import pytest

from rgym_exp.types import RoundReport
from tests.support.processes import HubProgram, NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

WORDS = "The hub has been silent for 60 s. Training on without it"


def test_nodes_train_on_together_while_the_hub_is_away_and_join_its_round_when_it_is_back(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    with (
        HubProgram(tmp_path / "hub", "--round-minimum", "0.5") as hub,
        NodeProgram(tmp_path / "ada", tiny_model_folder, invite=hub.invite()) as ada,
        NodeProgram(tmp_path / "bea", tiny_model_folder, invite=hub.invite()) as bea,
    ):
        nodes, invite = (ada, bea), hub.invite()
        for node in nodes:
            wait_for(partial(company, node), what=f"company for {node.name}", programs=(*nodes, hub))
        hub.end()
        assert hub.status == 0
        for node in nodes:
            wait_for(
                partial(company, node, interim=True),
                what=f"rounds of {node.name} with the other while the hub is away",
                programs=nodes,
                seconds=180,
            )
        for node in nodes:
            # Each is said once, however long it lasts.
            assert node.output().count("The chain does not answer") == 1
            assert node.output().count(WORDS) == 1
            away = [report for report in node.reports() if report.interim]
            assert [report.interim for report in away] == list(range(1, len(away) + 1))
            assert len({report.round for report in away}) == 1
            assert f"round {away[0].round}+1 (step " in node.output()
        with HubProgram(tmp_path / "hub", "--round-minimum", "0.5") as back:
            assert back.invite() == invite
            known = {node: len(node.reports()) for node in nodes}
            for node in nodes:
                wait_for(
                    partial(company, node, after=known[node]),
                    what=f"a round of the hub's of {node.name} with the other",
                    programs=(*nodes, back),
                )
        for node in nodes:
            reports = node.reports()
            joined = next(i for i, report in enumerate(reports) if i and reports[i - 1].interim and not report.interim)
            assert "The chain answers again" in node.output()
            assert "The chain was set back" not in node.output() and "Traceback" not in node.output()
            # Reward and vote of an interim round go nowhere, under no number.
            with sqlite3.connect(node.home.outbox) as outbox:
                (highest,) = outbox.execute("SELECT max(round) FROM writes").fetchone()
            assert highest <= max(report.round for report in reports)
            assert reports[joined].step == reports[joined - 1].step + 1


def company(node: NodeProgram, *, interim: bool = False, after: int = 0) -> list[RoundReport]:
    """Rounds with external groups: those of the hub's, or those without it."""
    return [report for report in node.reports()[after:] if report.external_peers and bool(report.interim) == interim]

"""The hub goes away for a while, as hosts' machines do, and comes back."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.support.processes import HubProgram, NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def test_nodes_wait_for_a_hub_that_went_away_and_go_on_together_when_it_is_back(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    with (
        HubProgram(tmp_path / "hub", "--round-minimum", "0.5") as hub,
        NodeProgram(tmp_path / "ada", tiny_model_folder, invite=hub.invite()) as ada,
        NodeProgram(tmp_path / "bea", tiny_model_folder, invite=hub.invite()) as bea,
    ):
        nodes = (ada, bea)
        invite = hub.invite()
        for node in nodes:
            wait_for(partial(has_company, node), what=f"company for {node.name}", programs=(*nodes, hub))
        hub.end()
        assert hub.status == 0
        for node in nodes:
            wait_for(
                partial(has_said, node, "The chain does not answer"),
                what=f"a word of {node.name} about the missing chain",
                programs=nodes,
            )
        last_rounds = {node: node.reports()[-1].round for node in nodes}

        with HubProgram(tmp_path / "hub", "--round-minimum", "0.5") as back:
            assert back.invite() == invite
            for node in nodes:
                wait_for(
                    partial(has_company, node, after=last_rounds[node]),
                    what=f"a new round of {node.name} with the other",
                    programs=(*nodes, back),
                )
                assert has_said(node, "The chain answers again")
                # Said once, however long it lasted.
                assert node.output().count("The chain does not answer") == 1
                assert "Traceback" not in node.output()


def has_company(node: NodeProgram, *, after: int = -1) -> bool:
    return any(report.external_peers for report in node.reports() if report.round > after)


def has_said(node: NodeProgram, words: str) -> bool:
    return words in node.output()

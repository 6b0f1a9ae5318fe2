"""The hub comes back from an old backup of its folder, as after a broken disk: nodes play on, and no reward is lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.contract_coordinator import read_peer_totals
from tests.support.processes import HubProgram, NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def test_nodes_play_on_and_send_again_what_a_backup_of_the_hub_lacks(tmp_path: Path, tiny_model_folder: Path) -> None:
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
        shutil.copytree(hub.home.hub, tmp_path / "backup")
        last_rounds = {node: node.reports()[-1].round for node in nodes}

        with HubProgram(tmp_path / "hub", "--round-minimum", "0.5") as back:
            wait_for(
                lambda: min(confirmed(node)[0] for node in nodes) > max(last_rounds.values()) + 1,
                what="rewards on the contract that the backup lacks",
                programs=(*nodes, back),
            )

        # Not only the hub's machine was off: what the nodes' DHT has of later rounds would soon lead the chain to them.
        for node in nodes:
            node.end()
        before = {node.name: confirmed(node)[0] for node in nodes}
        shutil.rmtree(hub.home.hub)
        shutil.copytree(tmp_path / "backup", hub.home.hub)

    with (
        HubProgram(tmp_path / "hub", "--round-minimum", "0.5") as hub,
        NodeProgram(tmp_path / "ada", tiny_model_folder, invite=invite) as ada,
        NodeProgram(tmp_path / "bea", tiny_model_folder, invite=invite) as bea,
    ):
        nodes = (ada, bea)
        assert hub.invite() == invite
        wait_for(
            lambda: hub.round > max(before.values()), what="the rounds that the backup lacks", programs=(*nodes, hub)
        )
        contract = SwarmContract(invite.rpc_url or "", invite.coordinator_address or "", chain_id=invite.chain_id)
        for node in nodes:
            assert node.output().count("The chain was set back to round") == 1
            assert node.output().count("writes that it lost are sent again") == 1
            wait_for(
                partial(contract_has_all_rewards, contract, node, until=before[node.name]),
                what=f"the rewards of {node.name} that the backup lacks on the contract",
                programs=(*nodes, hub),
                seconds=60,
            )
            assert "Traceback" not in node.output()


def contract_has_all_rewards(contract: SwarmContract, node: NodeProgram, *, until: int) -> bool:
    """Whether it has the reward of each round up to ``until`` that the node played, and all that it calls confirmed."""
    played = {report.round for report in node.reports() if report.round <= until}
    return (
        all(contract.read("hasSubmittedRoundStageReward", round, 0, node.peer_id) for round in played)
        and read_peer_totals(contract, node.peer_id).total_reward == confirmed(node)[1]
    )


def has_company(node: NodeProgram) -> bool:
    return any(report.external_peers for report in node.reports())


def confirmed(node: NodeProgram) -> tuple[int, int]:
    """Of the rewards that a node's outbox calls confirmed: the last round, and their sum."""
    with closing(sqlite3.connect(node.home.outbox)) as outbox:
        rows = outbox.execute("SELECT round, payload FROM writes WHERE kind = 'reward' AND status = 'confirmed'")
        rewards = {round: json.loads(payload)["reward"] for round, payload in rows}
    return max(rewards, default=-1), sum(rewards.values())

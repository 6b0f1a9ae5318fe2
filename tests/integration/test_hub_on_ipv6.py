"""A hub on IPv6, as its host starts it, and joiners that know no other address of it."""

from __future__ import annotations

import json
import socket
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from rgym_exp.base.ports import is_free
from tests.support.processes import HubProgram, NodeProgram, Program, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.mark.skipif(not (socket.has_ipv6 and is_free("::1", 0)), reason="this machine has no IPv6")
def test_joiners_of_a_hub_on_ipv6_train_together_and_their_rewards_arrive(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    with HubProgram(tmp_path / "hub", "--host", "::", "--public-host", "::1", "--round-minimum", "0.5") as hub:
        invite = hub.invite()
        assert invite.hub_url is not None and invite.hub_url.startswith("http://[::1]:")
        assert invite.rpc_url == f"{invite.hub_url}/rpc" and invite.judge_url == invite.hub_url
        assert [address[: len("/ip6/::1/tcp/")] for address in invite.bootnodes] == ["/ip6/::1/tcp/"]
        assert f"./run_rl_swarm.sh --join {invite.hub_url}/invite" in hub.output()
        with urllib.request.urlopen(f"{invite.hub_url}/health", timeout=10) as answer:
            assert json.load(answer)["ok"] is True
        with (
            Program(hub.home.root, "invite", []) as own,
            NodeProgram(tmp_path / "ada", tiny_model_folder, invite=invite) as ada,
            NodeProgram(tmp_path / "bea", tiny_model_folder, invite=invite) as bea,
        ):
            assert own.wait() == 0 and own.output().strip() == invite.encode()
            for node in (ada, bea):
                wait_for(partial(company, node), what=f"company for {node.name}", programs=(hub, ada, bea))
            wait_for(
                lambda: hub.hub_status().get("active") == 2 and rewards(hub) == {ada.peer_id, bea.peer_id},
                what="both peers' rewards",
                programs=(hub, ada, bea),
            )
            for program in (hub, ada, bea):
                assert "Traceback" not in program.output() + program.log()


def company(node: NodeProgram) -> bool:
    return any(report.external_peers for report in node.reports())


def rewards(hub: HubProgram) -> set[str]:
    with urllib.request.urlopen(f"{hub.invite().hub_url}/leaderboard", timeout=10) as answer:
        return {peer["peer_id"] for peer in json.load(answer)["peers"] if peer["reward"] > 0}

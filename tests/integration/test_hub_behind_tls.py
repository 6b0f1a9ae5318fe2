"""A hub behind a reverse proxy that speaks TLS: nginx with what docs/operations.md says, and a joiner over https."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from rgym_exp.base.ports import free_port, is_free
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.contract_coordinator import read_peer_totals
from rgym_exp.config.invite import Invite, read_invite
from rgym_exp.errors import InviteError
from rgym_exp.hub.client import ask, hub_status
from tests.support.certificates import self_signed
from tests.support.processes import REPOSITORY, HubProgram, NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
NEEDS_NGINX = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx)")

_AROUND = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Behind:
    """A hub and what is in front of it."""

    hub: HubProgram
    url: str
    authority: Path
    """The certificate, of an authority that only we know."""


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("tls")
    certificate = self_signed(folder)
    hub_port, tls_port = free_port(), free_port()
    url = f"https://localhost:{tls_port}"
    configuration = folder / "nginx.conf"
    configuration.write_text(_AROUND.format(folder=folder, site=documented_site(hub_port, tls_port, certificate)))
    with ExitStack() as life:
        patch = life.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        command = [str(NGINX), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(configuration)]
        nginx = life.enter_context(subprocess.Popen(command))
        life.callback(nginx.terminate)
        wait_for(lambda: nginx.poll() is None and not is_free("127.0.0.1", tls_port), what="nginx")
        hub = life.enter_context(
            HubProgram(
                folder / "hub",
                *("--port", str(hub_port), "--p2p-port", str(free_port())),
                *("--public-url", url, "--trusted-proxy", "127.0.0.1"),
                *("--round-minimum", "0.5", "--round-limit", "30"),
            )
        )
        hub.invite()
        yield Behind(hub=hub, url=url, authority=certificate)


def documented_site(hub_port: int, tls_port: int, certificate: Path) -> str:
    """The ``server`` block of the page, with these ports and files in the places of those that it names."""
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    found = re.search(r"```nginx\n(.*?)```", page, re.DOTALL)
    assert found is not None, "docs/operations.md has no nginx block"
    site = found[1]
    for documented, ours in {
        "listen 443 ssl;": f"listen 127.0.0.1:{tls_port} ssl;",
        "listen [::]:443 ssl;": "",
        "server_name swarm.example.org;": "server_name localhost;",
        "/etc/letsencrypt/live/swarm.example.org/fullchain.pem": str(certificate),
        "/etc/letsencrypt/live/swarm.example.org/privkey.pem": str(certificate),
        "http://127.0.0.1:8600;": f"http://127.0.0.1:{hub_port};",
    }.items():
        assert documented in site, f"docs/operations.md's nginx block has no {documented!r} any more"
        site = site.replace(documented, ours)
    return site


def invite_of(behind: Behind) -> Invite:
    return read_invite(f"{behind.url}/invite")


@NEEDS_NGINX
def test_an_invite_read_over_tls_names_everything_but_the_bootnode_by_https(behind: Behind) -> None:
    invite = invite_of(behind)
    assert (invite.hub_url, invite.rpc_url, invite.judge_url) == (behind.url, f"{behind.url}/rpc", behind.url)
    assert all(bootnode.startswith(("/ip4/", "/dns4/")) for bootnode in invite.bootnodes)


@NEEDS_NGINX
def test_status_round_and_chain_answer_over_tls(behind: Behind) -> None:
    invite = invite_of(behind)
    assert hub_status(behind.url)["swarm_id"] == invite.swarm_id
    look = json.loads(ask(f"{behind.url}/round").body)
    assert look["round"] >= 0
    contract = SwarmContract(invite.rpc_url or "", invite.coordinator_address or "")
    assert contract.chain_id == invite.chain_id
    assert contract.read("currentRound") >= look["round"]


@NEEDS_NGINX
def test_a_look_that_waits_for_the_next_round_passes_the_proxy(behind: Behind) -> None:
    now = json.loads(ask(f"{behind.url}/round").body)
    # Nobody takes part, so the round stands still; the answer comes when its time is up, with the same round.
    later = json.loads(ask(f"{behind.url}/round?after={now['round']}&wait=2", timeout_seconds=30).body)
    assert later["round"] >= now["round"]
    assert later["time"] - now["time"] >= 1.5 or later["round"] > now["round"]


@NEEDS_NGINX
def test_an_authority_that_nobody_knows_is_refused_with_the_reason(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(InviteError, match="certificate verify failed"):
        invite_of(behind)


@NEEDS_NGINX
def test_a_node_that_joined_by_https_plays_and_is_rewarded(
    behind: Behind, tmp_path: Path, tiny_model_folder: Path
) -> None:
    invite = invite_of(behind)
    trust = {"REQUESTS_CA_BUNDLE": str(behind.authority)}
    with NodeProgram(tmp_path / "joiner", tiny_model_folder, invite=invite, environ=trust) as node:
        node.wait_for_rounds(2, behind.hub)
        contract = SwarmContract(invite.rpc_url or "", invite.coordinator_address or "", chain_id=invite.chain_id)
        wait_for(
            lambda: read_peer_totals(contract, node.peer_id).registered_to == node.account,
            what="the node's registration on the contract",
            programs=(node, behind.hub),
        )
        wait_for(
            lambda: node.peer_id in {peer["peer_id"] for peer in behind.hub.hub_status().get("peers", [])},
            what="the node among the hub's peers",
            programs=(node, behind.hub),
        )

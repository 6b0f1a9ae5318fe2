"""A hub and two nodes in containers on a private network, each with a folder of another user of the host."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import Compose, ContainerNode, docker, tiny_services
from tests.support.processes import wait_for

OWNER = 1234
"""The user of the host whose folders they are: not root, and not the image's user."""
INVITE = "http://hub:{}/invite"


class Swarm:
    """The running swarm; its nodes are the services ``swarm-cpu`` and ``joiner``."""

    def __init__(self, compose: Compose) -> None:
        self.compose = compose
        compose.folder_of("CACHE_DIR", owner=OWNER)
        self.cpu = ContainerNode(compose, "swarm-cpu", compose.folder_of("USER_DIR", owner=OWNER))
        self.joiner = ContainerNode(compose, "joiner", compose.folder_of("JOINER_DIR", owner=OWNER))
        self.hub = ContainerNode(compose, "hub", compose.folder_of("HUB_DIR", owner=OWNER))
        self.nodes = (self.cpu, self.joiner)

    @property
    def everybody(self) -> tuple[ContainerNode, ...]:
        return (*self.nodes, self.hub)


@pytest.fixture(scope="module")
def swarm(image: str, shared_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    services = tiny_services(["swarm-cpu", "joiner"], shared_model)
    with Compose(tmp_path_factory.mktemp("swarm"), override=services, HUB_ROUND_LIMIT="20") as compose:
        invite = INVITE.format(compose.variables["HUB_PORT"])
        services["joiner"]["command"] += ["--join", invite]
        compose.override(services)
        compose.variables["SWARM_INVITE"] = invite
        swarm = Swarm(compose)
        compose("--profile", "swarm", "up", "--detach", "hub")
        wait_for(lambda: swarm.hub.health == "healthy", what="a healthy hub", programs=(swarm.hub,))
        compose("--profile", "swarm", "--profile", "joiner", "up", "--detach", "swarm-cpu", "joiner")
        yield swarm


def test_two_nodes_train_three_rounds_and_exchange_groups(swarm: Swarm) -> None:
    for node, other in ((swarm.cpu, swarm.joiner), (swarm.joiner, swarm.cpu)):
        wait_for(
            lambda node=node, other=other: (  # type: ignore[misc]
                len(node.reports()) >= 3 and any(other.peer_id in report.external_peers for report in node.reports())
            ),
            what=f"three rounds of {node.name}, and groups of the other in them",
            programs=swarm.everybody,
        )
    assert swarm.cpu.peer_id != swarm.joiner.peer_id


def test_what_a_node_writes_belongs_to_the_owner_of_its_folder(swarm: Swarm) -> None:
    for node in swarm.nodes:
        node_files = [path for path in node.home.root.rglob("*") if path.exists()]
        assert node.home.identity in node_files
        assert {path.stat().st_uid for path in node_files} == {OWNER}
        assert {path.stat().st_gid for path in node_files} == {OWNER}


def test_no_process_of_a_node_is_root_or_can_become_it(swarm: Swarm) -> None:
    script = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; grep -E '^(Uid|CapEff|NoNewPrivs)' $p/status; done"
    for node in swarm.nodes:
        processes = docker("exec", node.container, "bash", "-c", script)
        lives = [text.split() for text in processes.split("Uid:")[1:]]
        # The first is the init, which only passes signals on; the last ones are this look.
        of_node = [life for life in lives if life[0] == str(OWNER)]
        assert len(of_node) >= 2
        assert all(life[life.index("CapEff:") + 1] == "0" * 16 for life in of_node)
        assert all(life[life.index("NoNewPrivs:") + 1] == "1" for life in lives)
        assert "rl-swarm run" in processes


def test_the_root_file_system_can_not_be_written(swarm: Swarm) -> None:
    for node in swarm.everybody:
        done = docker(
            "exec", node.container, "bash", "-c", "touch /app/new /usr/new 2>&1; ls /app/new 2>&1", check=False
        )
        assert done.count("Read-only file system") == 2


def test_a_node_that_finishes_rounds_is_healthy(swarm: Swarm) -> None:
    for node in swarm.everybody:
        wait_for(lambda node=node: node.health == "healthy", what=f"{node.name} healthy", programs=(node,))  # type: ignore[misc]


def test_commands_work_beside_the_running_node_as_its_user(swarm: Swarm) -> None:
    said = swarm.compose("exec", "-T", "swarm-cpu", "rl-swarm", "status").stdout
    assert swarm.cpu.peer_id in said
    assert "taking part  yes" in said


def test_the_hub_answers_on_loopback_of_the_host(swarm: Swarm) -> None:
    port = swarm.compose.variables["HUB_PORT"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=10) as answer:
        assert json.load(answer)["peer_count"] == 2


def test_a_node_cut_off_for_a_round_skips_it_and_comes_back(swarm: Swarm) -> None:
    network = f"{swarm.compose.project}_default"
    before = swarm.joiner.reports()[-1].round
    docker("network", "disconnect", network, swarm.joiner.container)
    alone = wait_for(
        lambda: next((r.round for r in swarm.cpu.reports() if r.round > before + 3 and not r.external_groups), None),
        what="a round of the other without it",
        programs=swarm.everybody,
    )
    docker("network", "connect", network, swarm.joiner.container)
    wait_for(
        lambda: any(r.round > alone and swarm.cpu.peer_id in r.external_peers for r in swarm.joiner.reports()),
        what="groups of the other after the cut",
        programs=swarm.everybody,
    )
    # The last of them may still have been open when it came back.
    assert set(range(before + 1, alone + 1)) - {report.round for report in swarm.joiner.reports()}
    assert any(report.skipped for report in swarm.joiner.reports() if report.round > before)

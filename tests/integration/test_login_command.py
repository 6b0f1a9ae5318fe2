"""``rl-swarm login`` and the runs after it, with the real login server, hub and chain."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from rgym_exp.base.ports import free_port, is_free
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.contract_coordinator import read_peer_totals
from rgym_exp.config.paths import login_app_dir
from tests.support.forward_proxy import forward_proxy
from tests.support.processes import DEADLINE_SECONDS, REPOSITORY, HubProgram, NodeProgram, Program, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

EMAIL = "ada@example.org"


class Terminal:
    """A command with a person at its terminal."""

    def __init__(self, arguments: list[str], environ: dict[str, str]) -> None:
        self.screen = ""
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rgym_exp.cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            start_new_session=True,
        )
        os.close(slave)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until the pattern is on the screen."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (found := re.search(pattern, self.screen)) is None:
            if not self._read(deadline):
                raise AssertionError(f"{pattern!r} never appeared:\n{self.screen}")
        return found

    def end(self) -> int:
        """Read to the end; the exit status."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self._read(deadline):
            pass
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        os.close(self._master)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
        try:
            read = os.read(self._master, 4096) if ready else b""
        except OSError:  # Linux's way of saying that nobody holds the other end any more
            return False
        self.screen += read.decode()
        return bool(read)


@pytest.fixture
def login_environ(tmp_path: Path) -> dict[str, str]:
    """Variables that give the login server a folder and a port of this test's own, on a machine without a display."""
    assert (login_app_dir() / ".next" / "standalone" / "server.js").exists(), (
        "modal-login isn't built: run `npm ci` and `npm run build` there (./run_tests.sh does)."
    )
    kept = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return {
        **kept,
        "PYTHONPATH": str(REPOSITORY),
        "LOGIN_DATA_DIR": str(tmp_path / "login"),
        "LOGIN_PORT": str(free_port()),
    }


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for each in opened:
        each.close()


def log_in(port: int, token: str) -> dict[str, Any]:
    """What the page does with the local wallet; the server's account of it."""
    api = f"http://127.0.0.1:{port}/api"
    headers = {"authorization": f"Bearer {token}"}
    answer = requests.post(
        f"{api}/get-api-key", json={"whoamiStamp": {"email": EMAIL}}, headers=headers, timeout=DEADLINE_SECONDS
    )
    assert answer.status_code == 200, answer.text
    account: dict[str, Any] = requests.get(f"{api}/account", headers=headers, timeout=DEADLINE_SECONDS).json()
    return account


def login_arguments(hub: HubProgram) -> list[str]:
    return ["login", "--home", str(hub.home.root), "--network", "local"]


def test_a_login_at_a_server_without_a_display_and_the_node_that_uses_it(
    tmp_path: Path, tiny_model_folder: Path, login_environ: dict[str, str], terminals: list[Terminal]
) -> None:
    port = int(login_environ["LOGIN_PORT"])
    # On a machine whose way out is a proxy, which can't reach what is all here.
    with forward_proxy(tmp_path) as proxy, HubProgram(tmp_path / "hub") as hub:
        login_environ |= proxy.environ()
        invite = hub.invite()
        person = Terminal(login_arguments(hub), login_environ)
        terminals.append(person)
        token = person.wait_for(rf"http://localhost:{port}/#token=(\S+)")[1]
        person.wait_for(rf"ssh -L {port}:localhost:{port} \S+@\S+")
        person.wait_for(rf"tailscale serve --bg http://localhost:{port}")
        person.wait_for("Waiting for a login at")
        account = log_in(port, token)
        assert person.end() == 0, person.screen
        assert f"Logged in. {EMAIL}: account {account['address']}" in person.screen
        assert "rl-swarm run --network local blockchain.coordinator=modal" in person.screen
        assert is_free("127.0.0.1", port), "the login server outlived the command that started it"

        again = Terminal(login_arguments(hub), login_environ)
        terminals.append(again)
        assert again.end() == 0, again.screen
        assert f"Already logged in. {EMAIL}" in again.screen

        settings = ("blockchain.coordinator=modal",)
        with NodeProgram(tmp_path / "node", tiny_model_folder, *settings, invite=invite, environ=login_environ) as node:
            node.wait_for_rounds(2, hub)
            assert f"Logged in. {EMAIL}: account {account['address']}" in node.output()
            wait_for(lambda: node.waiting_transactions() == 0, what="an empty outbox", programs=(node, hub))
            contract = SwarmContract(
                str(invite.rpc_url), str(invite.coordinator_address), chain_id=invite.chain_id or 0
            )
            totals = read_peer_totals(contract, node.peer_id)
            assert totals.registered_to == account["address"]
            assert token not in node.log() + node.output()
            node.ctrl_c()
            assert node.wait() == 0
        assert is_free("127.0.0.1", port)
        assert proxy.asked_for() == []


def test_a_wait_that_is_over_ends_with_the_reason(
    tmp_path: Path, login_environ: dict[str, str], terminals: list[Terminal]
) -> None:
    with HubProgram(tmp_path / "hub") as hub:
        hub.invite()
        person = Terminal([*login_arguments(hub), "--timeout", "0.03"], login_environ)
        terminals.append(person)
        assert person.end() == 1
        assert "rl-swarm login: Gave up after 2 s: nobody has logged in at" in person.screen


def test_a_run_serves_the_nodes_page_and_takes_it_along_when_it_is_killed(
    tmp_path: Path, tiny_model_folder: Path, login_environ: dict[str, str]
) -> None:
    port = int(login_environ["LOGIN_PORT"])
    with (
        HubProgram(tmp_path / "hub") as hub,
        NodeProgram(
            tmp_path / "node", tiny_model_folder, "observe.page=yes", invite=hub.invite(), environ=login_environ
        ) as node,
    ):
        wait_for(lambda: f"web page: http://localhost:{port}/" in node.output(), what="the page", programs=(node, hub))
        node.wait_for_rounds(1, hub)

        def shown() -> dict[str, Any] | None:
            status = requests.get(f"http://127.0.0.1:{port}/api/status", timeout=DEADLINE_SECONDS).json()
            return status if status["peers"] else None

        status = wait_for(shown, what="the node's peer on its page", programs=(node, hub))
        assert (status["kind"], status["address"].lower()) == ("node", node.account.lower())
        assert [peer["peerId"] for peer in status["peers"]] == [node.peer_id]
        assert requests.get(f"http://127.0.0.1:{port}/", timeout=DEADLINE_SECONDS).status_code == 200
        node.kill()
        wait_for(lambda: is_free("127.0.0.1", port), what="the end of the page", programs=(hub,))
        assert servers_of(login_environ) == []


def servers_of(environ: dict[str, str]) -> list[int]:
    """Login servers that run with this test's data."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LOGIN_DATA_DIR") == environ["LOGIN_DATA_DIR"] and process.name() == "node":
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_two_nodes_of_one_login_share_a_server_which_outlives_the_first(
    tmp_path: Path, tiny_model_folder: Path, login_environ: dict[str, str], terminals: list[Terminal]
) -> None:
    port = int(login_environ["LOGIN_PORT"])
    with HubProgram(tmp_path / "hub", "--round-limit", "5") as hub:
        invite = hub.invite()
        person = Terminal(login_arguments(hub), login_environ)
        terminals.append(person)
        account = log_in(port, person.wait_for(r"#token=(\S+)")[1])
        assert person.end() == 0, person.screen

        def node(name: str) -> NodeProgram:
            return NodeProgram(
                tmp_path / name, tiny_model_folder, "blockchain.coordinator=modal", invite=invite, environ=login_environ
            )

        with node("one") as one:
            one.wait_for_rounds(1, hub)
            with node("two") as two:
                two.wait_for_rounds(1, hub, one)
                others: tuple[Program, ...] = (two, hub)
                one.kill()
                wait_for(
                    lambda: "this one runs it now" in two.output(), what="the second node's server", programs=others
                )
                two.wait_for_rounds(2, hub)
                wait_for(lambda: two.waiting_transactions() == 0, what="an empty outbox", programs=others)
                contract = SwarmContract(
                    str(invite.rpc_url), str(invite.coordinator_address), chain_id=invite.chain_id or 0
                )
                for program in (one, two):
                    assert read_peer_totals(contract, program.peer_id).registered_to == account["address"]

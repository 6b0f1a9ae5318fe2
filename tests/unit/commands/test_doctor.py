"""What the doctor finds, and what it advises."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from rgym_exp import cli
from rgym_exp.base.ports import free_port
from rgym_exp.commands import checks, network_checks, reachability_checks
from rgym_exp.commands.checks import Finding
from rgym_exp.commands.doctor import worded
from rgym_exp.config.invite import HUB_CAPABILITIES, Invite
from rgym_exp.config.paths import Home
from rgym_exp.config.schema import NetworkConfig
from rgym_exp.errors import HubError, SwarmError
from rgym_exp.hub.client import hub_status
from rgym_exp.swarm.identity import load_or_create_identity
from rgym_exp.swarm.reachability import Reachability
from rgym_exp.types import PROTOCOL

INVITE = Invite(
    swarm_id="friends",
    tasks="starter",
    model_name="auto",
    hub_url="http://10.0.0.1:8600",
    chain_id=None,
    rpc_url=None,
    coordinator_address=None,
    bootnodes=(),
)
PEER = "QmeqXnY6nKNNvsgLVY39mNFBkW9FM354awRUZrL6b1jmZa"


class Chain(BaseHTTPRequestHandler):
    """Answers like a JSON-RPC server of chain 7 with a contract at 0x11..."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        result = '"0x7"' if b"eth_chainId" in body else '"0x60"' if b"0x1111" in body else '"0x"'
        self._answer(f'{{"jsonrpc": "2.0", "id": 1, "result": {result}}}')

    def do_GET(self) -> None:
        self._answer("hello")

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing to say."""


@pytest.fixture
def chain_url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Chain)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path, identity_path=None)


def network(**values: Any) -> NetworkConfig:
    return NetworkConfig(**values)


def test_an_old_python_is_a_failure_and_this_one_is_not() -> None:
    assert checks.check_python((3, 9, 1)).level == "failure"
    assert checks.check_python().level == "ok"


def test_a_full_disk_is_a_failure_even_before_the_home_exists(home: Home) -> None:
    later = Home(root=home.root / "not" / "yet", identity_path=None)
    assert checks.check_disk(later, needed_bytes=1).level == "ok"
    finding = checks.check_disk(later, needed_bytes=2**60)
    assert (finding.level, "Make room" in finding.remedy) == ("failure", True)


def test_little_memory_is_a_warning() -> None:
    assert checks.check_memory(needed_bytes=1).level == "ok"
    assert checks.check_memory(needed_bytes=2**60).level == "warning"


def test_the_peer_to_peer_daemon_really_starts() -> None:
    assert checks.check_p2pd() == Finding(level="ok", what="the libp2p daemon (p2pd) starts")


def test_an_identity_that_others_can_read_is_a_warning_with_the_command_to_type(home: Home) -> None:
    assert checks.check_identity(home).level == "ok"
    load_or_create_identity(home.identity)
    assert checks.check_identity(home).level == "ok"
    home.identity.chmod(0o644)
    finding = checks.check_identity(home)
    assert (finding.level, finding.remedy) == ("warning", f"chmod 600 {home.identity}")


def test_a_broken_identity_is_a_failure_that_names_the_backup(home: Home) -> None:
    home.identity.write_bytes(b"")
    finding = checks.check_identity(home)
    assert finding.level == "failure" and "restore" in finding.remedy
    assert home.identity.read_bytes() == b""


def test_a_broken_configuration_is_a_failure_and_a_missing_one_is_not_made(home: Home) -> None:
    assert checks.check_config(home).level == "ok"
    assert not home.config_file.exists()
    home.config_file.parent.mkdir()
    home.config_file.write_text("training:\n  num_generation: 4\n")
    finding = checks.check_config(home)
    assert finding.level == "failure" and "num_generations" in finding.what


def test_a_taken_port_is_a_warning_unless_our_hub_has_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert network_checks.check_port(port, "the hub's API", hub_url=None).level == "warning"
        assert network_checks.check_port(port, "the hub's API", hub_url="http://127.0.0.1:8600").level == "ok"
    assert network_checks.check_port(free_port(), "the hub's API", hub_url=None).level == "ok"


def test_a_wrong_clock_is_noticed_by_a_servers_date(chain_url: str) -> None:
    assert network_checks.check_clock(chain_url).level == "ok"
    finding = network_checks.check_clock(chain_url, now=time.time() - 3600)
    assert finding.level == "warning" and "behind" in finding.what


def test_a_clock_without_a_server_to_compare_with_is_no_problem() -> None:
    assert network_checks.check_clock(f"http://127.0.0.1:{free_port()}").level == "ok"


def test_a_hub_that_is_away_is_a_failure_unless_a_run_would_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    away = network(hub_url=f"http://127.0.0.1:{free_port()}")
    assert network_checks.check_hub(away).level == "ok"
    monkeypatch.setattr(network_checks, "is_loopback", lambda url: False)
    assert network_checks.check_hub(away).level == "failure"


def test_another_web_server_is_no_hub(chain_url: str) -> None:
    with pytest.raises(HubError, match="not as a hub"):
        hub_status(chain_url)


@pytest.mark.parametrize(
    ("invite", "level", "words"),
    [
        pytest.param(
            replace(INVITE, protocol=PROTOCOL, capabilities=tuple(HUB_CAPABILITIES)), "ok", "speaks", id="ours"
        ),
        pytest.param(replace(INVITE, protocol=PROTOCOL), "warning", "passes no shares on", id="can do less"),
        pytest.param(INVITE, "warning", "can't hear this node", id="earlier"),
    ],
)
def test_a_hub_of_another_version_is_a_warning_that_says_what_to_do(
    invite: Invite, level: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_checks, "hub_invite", lambda _: invite.encode())
    finding = network_checks.check_version("http://10.0.0.1:8600")
    assert finding.level == level and words in finding.what
    assert finding.remedy == ("Ask the host to update." if level == "warning" else "")


def test_a_version_that_cannot_be_asked_for_is_no_problem() -> None:
    assert network_checks.check_version(f"http://127.0.0.1:{free_port()}").level == "ok"


def test_a_bootnode_is_dialled() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert network_checks.check_bootnode(f"/ip4/127.0.0.1/tcp/{port}/p2p/{PEER}").level == "ok"
    finding = network_checks.check_bootnode(f"/ip4/127.0.0.1/tcp/{port}/p2p/{PEER}")
    assert finding.level == "failure" and "firewall" in finding.remedy
    assert network_checks.check_bootnode(f"/dns4/localhost/tcp/99999/p2p/{PEER}").level == "failure"
    assert network_checks.check_bootnode(f"/ip4/127.0.0.1/udp/1/quic/p2p/{PEER}").level == "warning"


@pytest.mark.parametrize(
    ("chain_id", "address", "level", "words"),
    [
        (7, "0x" + "11" * 20, "ok", "contract found"),
        (7, None, "ok", "chain 7 answers"),
        (8, None, "failure", "serves chain 7, but the network is on chain 8"),
        (7, "0x" + "22" * 20, "failure", "no contract at"),
    ],
)
def test_the_chain_and_its_contract(chain_url: str, chain_id: int, address: str | None, level: str, words: str) -> None:
    finding = network_checks.check_chain(network(rpc_url=chain_url, chain_id=chain_id, coordinator_address=address))
    assert finding.level == level and words in finding.what


def test_a_chain_that_is_away_is_a_failure() -> None:
    assert network_checks.check_chain(network(rpc_url=f"http://127.0.0.1:{free_port()}")).level == "failure"


def look_that_finds(open_ports: tuple[int, ...]) -> Any:
    async def look(bootnodes: list[str], *, port: int) -> Reachability:
        return Reachability(host="203.0.113.7", ports=(port or 40001,), open_ports=open_ports)

    return look


BOOTNODE = f"/ip4/198.51.100.1/tcp/38331/p2p/{PEER}"


@pytest.mark.parametrize(
    ("port", "open_ports", "level", "words"),
    [
        (38400, (38400,), "ok", "at 203.0.113.7 port 38400"),
        (38400, (), "warning", "forward TCP port 38400"),
        (0, (), "warning", "set communications.port to a fixed port"),
    ],
)
def test_whether_others_can_reach_this_machine_is_said_with_the_port_to_forward(
    home: Home, monkeypatch: pytest.MonkeyPatch, port: int, open_ports: tuple[int, ...], level: str, words: str
) -> None:
    monkeypatch.setattr(reachability_checks, "look_from_outside", look_that_finds(open_ports))
    home.config_file.parent.mkdir(parents=True, exist_ok=True)
    home.config_file.write_text(f"communications:\n  port: {port}\n")
    finding = reachability_checks.check_reachability(home, [BOOTNODE])
    assert finding.level == level and words in finding.what + finding.remedy


def test_a_swarm_of_this_machine_alone_has_to_be_reached_by_nobody(home: Home) -> None:
    finding = reachability_checks.check_reachability(home, [f"/ip4/127.0.0.1/tcp/38331/p2p/{PEER}"])
    assert finding.level == "ok"


def test_with_no_bootnode_to_dial_back_it_is_unknown(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(bootnodes: list[str], *, port: int) -> Reachability:
        raise SwarmError("No bootnode of this swarm dials back.")

    monkeypatch.setattr(reachability_checks, "look_from_outside", look)
    finding = reachability_checks.check_reachability(home, [BOOTNODE])
    assert finding.level == "warning" and "unknown" in finding.what


def test_a_finding_is_worded_with_its_remedy_below() -> None:
    finding = Finding(level="failure", what="it is broken", remedy="Mend it.")
    assert worded(finding, colour=False) == "  FAILURE  it is broken\n           -> Mend it."
    assert "\033[31m" in worded(finding, colour=True)


def test_the_doctor_exits_with_1_when_something_must_be_repaired(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IDENTITY_PATH", raising=False)
    home.hub.mkdir(parents=True)
    (home.hub / "hub.json").write_text(f'{{"port": {free_port()}}}')
    assert cli.main(["doctor", "--home", str(home.root)]) == 0
    assert "Ready" in capsys.readouterr().out
    home.identity.write_bytes(b"junk")
    assert cli.main(["doctor", "--home", str(home.root)]) == 1
    shown = capsys.readouterr().out
    assert "FAILURE" in shown and "1 to repair" in shown


@pytest.mark.parametrize("place", ["", "logs", ".rl-swarm", "configs"])
def test_a_file_where_a_run_needs_a_folder_is_no_ready_machine(place: str, tmp_path: Path) -> None:
    home = Home(root=tmp_path / "home", identity_path=None)
    assert checks.check_folders(home).level == "ok"
    assert not home.root.exists()
    if place:
        home.root.mkdir()
    (home.root / place).write_text("not a folder")
    finding = checks.check_folders(home)
    assert finding.level == "failure"
    assert finding.what.startswith(f"{home.root / place} is a file")
    assert "--home" in finding.remedy


def test_a_folder_of_somebody_elses_is_to_be_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As for a user who isn't root.
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path / "logs")
    (tmp_path / "logs").mkdir()
    finding = checks.check_folders(Home(root=tmp_path, identity_path=None))
    assert (finding.level, finding.what) == ("failure", f"{tmp_path / 'logs'} can't be written by this user")

"""One server for the nodes that share its data: started, found, taken over, ended. What answers is a stand-in."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import rgym_exp.login.server as server_module
from rgym_exp.chain.login_client import LoginClient
from rgym_exp.errors import DataInUse, LoginError
from rgym_exp.login.login_plan import LoginPlan
from rgym_exp.login.node_js import NodeJs, find_node
from rgym_exp.login.server import LoginServer, running_server
from tests.support.processes import REPOSITORY, wait_for
from tests.unit.login.login_builders import CONTRACT, plan_in

Open = Callable[..., LoginServer]


@pytest.fixture(scope="module")
def node() -> NodeJs:
    return find_node()


@pytest.fixture
def open_server(node: NodeJs) -> Iterator[Open]:
    """Starts servers that are closed at the end."""
    opened: list[LoginServer] = []

    def start(plan: LoginPlan, **options: bool) -> LoginServer:
        server = LoginServer(plan, node, **options)
        opened.append(server)
        server.start()
        return server

    yield start
    for server in opened:
        server.close()


def is_gone(process_id: int) -> bool:
    return not psutil.pid_exists(process_id) or psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE


def test_a_server_answers_on_the_wanted_port_and_ends_with_us(tmp_path: Path, open_server: Open) -> None:
    plan = plan_in(tmp_path)
    server = open_server(plan)
    assert server.port == plan.port
    assert server.url == f"http://127.0.0.1:{plan.port}/api"
    assert plan.is_met_by(LoginClient(server.url, None).health())
    assert stat.S_IMODE(plan.data_dir.stat().st_mode) == 0o700
    process_id = server.process_id
    assert process_id is not None
    server.close()
    server.close()
    assert is_gone(process_id)
    assert running_server(plan) is None


def test_beside_another_program_it_takes_the_next_port_and_says_so(
    tmp_path: Path, open_server: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = open_server(plan_in(tmp_path, port=port))
    assert server.port != port
    assert f"Port {port} is taken by another program" in caplog.text and f"port {server.port} instead" in caplog.text


def test_a_second_node_uses_the_first_ones_server_and_takes_it_over_on_the_same_port(
    tmp_path: Path, open_server: Open
) -> None:
    plan = plan_in(tmp_path)
    first, second = open_server(plan), open_server(plan)
    assert (second.port, second.process_id) == (first.port, None)
    assert running_server(plan) == first.port
    first.close()
    wait_for(lambda: second.process_id, what="a server of the second node's own")
    wait_for(lambda: running_server(plan), what="an answer on the same port")
    assert second.port == plan.port


def test_a_server_that_dies_after_a_while_is_started_again(
    tmp_path: Path, open_server: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "STEADY_SECONDS", 0.0)
    plan = plan_in(tmp_path)
    server = open_server(plan)
    first = server.process_id
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: server.process_id != first and running_server(plan), what="a new server on the old port")
    assert server.port == plan.port


def test_a_server_that_dies_young_is_given_up_with_a_word(
    tmp_path: Path, open_server: Open, caplog: pytest.LogCaptureFixture
) -> None:
    server = open_server(plan_in(tmp_path))
    assert server.process_id is not None
    os.kill(server.process_id, signal.SIGKILL)
    wait_for(lambda: "ended by itself" in caplog.text, what="a word about the end")
    assert "is not started again" in caplog.text


def test_a_server_of_another_chain_with_the_same_data_is_refused_with_the_way_out(
    tmp_path: Path, open_server: Open
) -> None:
    plan = plan_in(tmp_path)
    first = open_server(plan)
    with pytest.raises(DataInUse, match=r"local wallet for chain 31337 \(port \d+\).*LOGIN_DATA_DIR=DIR"):
        open_server(plan_in(tmp_path, chain_id=685685))
    assert running_server(plan) == first.port


def test_who_wants_no_shared_server_is_told_that_there_is_one(tmp_path: Path, open_server: Open) -> None:
    plan = plan_in(tmp_path)
    open_server(plan)
    with pytest.raises(DataInUse):
        open_server(plan, shared=False)


def test_a_server_that_cannot_start_is_reported_in_its_own_words_with_its_log(
    tmp_path: Path, open_server: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_ENDS_AT_ONCE", "1")
    with pytest.raises(LoginError, match=r"did not start.*no room for a server here.*yarn\.log"):
        open_server(plan_in(tmp_path))


def test_it_gets_the_plan_as_variables_and_none_of_our_secrets(
    tmp_path: Path, open_server: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_ours")
    monkeypatch.setenv("LOGIN_WALLET", "alchemy")
    plan = plan_in(tmp_path, node_account="0x" + "11" * 20)
    process_id = open_server(plan).process_id
    assert process_id is not None
    environ = psutil.Process(process_id).environ()
    assert environ["LOGIN_WALLET"] == "local"
    assert environ["LOGIN_NODE_ACCOUNT"] == "0x" + "11" * 20
    assert environ["SWARM_CONTRACT_ADDRESS"] == CONTRACT
    assert environ["LOGIN_DATA_DIR"] == str(plan.data_dir)
    assert environ["NEXT_TELEMETRY_DISABLED"] == "1"
    assert "HF_TOKEN" not in environ


def test_a_server_ends_with_a_node_that_is_killed(tmp_path: Path, open_server: Open) -> None:
    plan = plan_in(tmp_path)
    program = (
        "import sys, threading; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from login_builders import plan_in; from rgym_exp.login.node_js import find_node\n"
        "from rgym_exp.login.server import LoginServer\n"
        "server = LoginServer(plan_in(Path(sys.argv[2]), port=int(sys.argv[3])), find_node()); server.start()\n"
        "print(server.process_id, flush=True); threading.Event().wait()\n"
    )
    node = subprocess.Popen(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path), str(plan.port)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert node.stdout is not None
    process_id = int(node.stdout.readline())
    follower = open_server(plan)
    assert follower.process_id is None
    node.kill()
    node.wait()
    wait_for(lambda: is_gone(process_id), what="the end of the killed node's server")
    wait_for(lambda: follower.process_id and running_server(plan), what="the follower's server")
    assert follower.port == plan.port


def test_closing_while_it_starts_does_not_wait_for_the_start(tmp_path: Path, node: NodeJs) -> None:
    plan = plan_in(tmp_path)
    (plan.app_dir / "scripts" / "start.mjs").write_text("setInterval(() => {}, 1000)")
    server = LoginServer(plan, node)
    failures: list[LoginError] = []

    def start() -> None:
        try:
            server.start()
        except LoginError as error:
            failures.append(error)

    starting = threading.Thread(target=start)
    starting.start()
    wait_for(lambda: server.process_id, what="a process that never answers")
    process_id = server.process_id
    server.close()
    starting.join(20)
    assert len(failures) == 1
    assert process_id is not None and is_gone(process_id)

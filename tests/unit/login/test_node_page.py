"""The node's own web page: in the background, for its own account, and never in the way."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rgym_exp.base.ports import free_port
from rgym_exp.config.paths import Home
from rgym_exp.errors import NodeMissing
from rgym_exp.login import node_page as page_module
from rgym_exp.login.login_plan import LoginPlan
from rgym_exp.login.node_page import NodePage
from rgym_exp.login.server import running_server
from tests.support.processes import wait_for
from tests.unit.login.login_builders import plan_in

Serve = Callable[..., NodePage]


@pytest.fixture
def serve() -> Iterator[Serve]:
    pages: list[NodePage] = []

    def make(plan: LoginPlan, home: Home, **options: bool) -> NodePage:
        pages.append(NodePage(plan, home, **options))
        return pages[-1]

    yield make
    for each in pages:
        each.close()


def home_of(folder: Path, account: str | None) -> Home:
    home = Home(root=folder, identity_path=None)
    if account:
        home.state.mkdir(parents=True)
        home.account_key.write_text(json.dumps({"address": account, "private_key": "0x"}))
    return home


def address_of(page: NodePage) -> str:
    told: list[str] = []
    page.when_up(told.append)
    return wait_for(lambda: told, what="the page")[0]


def account_shown_on(port: int) -> str:
    """LOGIN_NODE_ACCOUNT of the server that listens there."""
    servers: list[Any] = [
        child for child in psutil.Process().children() if child.environ().get("LOGIN_PORT") == str(port)
    ]
    return str(servers[0].environ()["LOGIN_NODE_ACCOUNT"])


def test_the_page_is_up_without_the_run_waiting_and_its_account_is_the_key_files(tmp_path: Path, serve: Serve) -> None:
    plan, home = plan_in(tmp_path), home_of(tmp_path / "home", None)
    page = serve(plan, home)
    assert running_server(plan) is None
    # The run makes the key file while it starts.
    home_of(home.root, "0x" + "AB" * 20)
    assert address_of(page) == f"http://localhost:{plan.port}/"
    assert account_shown_on(plan.port) == "0x" + "ab" * 20
    page.close()
    assert running_server(plan) is None


def test_a_second_node_shows_its_own_account_on_a_port_of_its_own(tmp_path: Path, serve: Serve) -> None:
    plan = plan_in(tmp_path)
    first = address_of(serve(plan, home_of(tmp_path / "one", "0x" + "11" * 20)))
    second = address_of(serve(plan, home_of(tmp_path / "two", "0x" + "22" * 20)))
    ports = [int(address.rstrip("/").rpartition(":")[2]) for address in (first, second)]
    assert ports[0] == plan.port != ports[1]
    assert [account_shown_on(port) for port in ports] == ["0x" + "11" * 20, "0x" + "22" * 20]
    assert (tmp_path / "two" / ".rl-swarm" / "login" / "token").exists()


@pytest.mark.parametrize(("insist", "level"), [(False, logging.INFO), (True, logging.WARNING)])
def test_without_node_js_the_node_goes_on_and_says_so(
    tmp_path: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    insist: bool,
    level: int,
) -> None:
    def missing() -> None:
        raise NodeMissing("The login server needs Node.js.")

    monkeypatch.setattr(page_module, "find_node", missing)
    caplog.set_level(logging.INFO)
    serve(plan_in(tmp_path), home_of(tmp_path / "home", "0x" + "11" * 20), insist=insist)
    (said,) = wait_for(lambda: [r for r in caplog.records if r.name == "rl_swarm.login"], what="a word")
    assert (said.levelno, said.getMessage()) == (
        level,
        "The node goes on without its web page. The login server needs Node.js.",
    )


def test_with_little_memory_it_is_not_built_unless_asked_for(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(page_module, "_available_memory", lambda: 1024**3)
    caplog.set_level(logging.INFO)
    sources = tmp_path / "modal-login"
    (sources / "app").mkdir(parents=True)
    plan = plan_in(tmp_path, app_dir=sources, port=free_port())
    serve(plan, home_of(tmp_path / "home", "0x" + "11" * 20))
    wait_for(lambda: "only 1.0 GiB are available" in caplog.text, what="a word about the memory")
    assert "observe.page=yes" in caplog.text
    assert not (sources / "temp-data").exists()


def test_a_run_that_ends_before_it_has_an_account_leaves_no_page(tmp_path: Path, serve: Serve) -> None:
    plan = plan_in(tmp_path)
    page = serve(plan, home_of(tmp_path / "home", None))
    page.close()
    assert running_server(plan) is None
    assert not (plan.data_dir / "server.json").exists()

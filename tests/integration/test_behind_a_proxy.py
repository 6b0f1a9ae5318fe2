"""A machine whose way out is an HTTP proxy: what runs on the machine itself is asked past it, whatever asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rgym_exp.base.ports import free_port
from tests.support.forward_proxy import forward_proxy
from tests.support.processes import HubProgram, Program, process_environ, small_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_a_swarm_of_ones_own_plays_without_asking_the_proxy_for_anything(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    """Hub, chain and judge are started by the run, and all of them find each other."""
    with forward_proxy(tmp_path) as proxy:
        arguments = ["--network", "local", "--rounds", "2", *small_settings(tiny_model_folder)]
        with Program(tmp_path / "home", "run", arguments, environ=proxy.environ()) as node:
            assert node.wait(200) == 0, node.last_words()
        assert "Traceback" not in node.output()
        assert proxy.asked_for() == []


def test_a_hub_elsewhere_is_asked_through_the_proxy(tmp_path: Path) -> None:
    port = free_port()
    name = "swarm.example.org"
    with (
        HubProgram(tmp_path / "hub", "--port", str(port), "--p2p-port", str(free_port())) as hub,
        forward_proxy(tmp_path, **{name: f"127.0.0.1:{port}"}) as proxy,
    ):
        hub.invite()
        done = subprocess.run(
            [sys.executable, "-m", "rgym_exp.cli", "invite", f"http://{name}", "--home", str(tmp_path)],
            env=process_environ(proxy.environ()),
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        assert hub.invite().swarm_id in done.stdout
        assert set(proxy.asked_for()) == {name}

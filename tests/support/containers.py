"""The project's own containers, as people start them with compose: watched through their folders on the host."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from rgym_exp.base.ports import free_port
from rgym_exp.config.paths import Home
from rgym_exp.observe.metrics import read_reports
from rgym_exp.swarm.identity import load_identity
from rgym_exp.types import RoundReport
from tests.support.processes import REPOSITORY, small_settings

IMAGE = "rl-swarm:cpu"
COMMAND_SECONDS = 240.0
CHECKS = Path("/checks")
"""Where containers see ``tests/`` and the tiny model."""

# What a person may have set, and a test has to decide for itself.
_STEERING = (
    *("COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "CONNECT_TO_TESTNET", "GENSYN_RESET_CONFIG", "HF_"),
    *("HUB_", "HUGGINGFACE_", "IDENTITY_PATH", "JOINER_", "LOGIN_", "MODEL_NAME", "P2P_", "PRG_GAME", "SWARM_"),
)


def docker(*arguments: str, check: bool = True) -> str:
    """What ``docker ARGUMENT...`` prints; with ``check``, an AssertionError with its complaint when it fails."""
    return _run(["docker", *arguments], dict(os.environ), check).stdout.strip()


def inspect(container: str, template: str) -> str:
    """A field of a container or image, by a Go template."""
    return docker("inspect", "--format", template, container)


class Compose:
    """One compose project with folders, ports and variables of its own. At the end nothing of it is left."""

    def __init__(self, folder: Path, *, override: dict[str, Any] | None = None, **variables: str) -> None:
        self.folder = folder
        self.project = f"check-{os.getpid()}-{folder.name}".lower().replace("_", "-")
        self._override = folder / "override.json"
        if override:
            self.override(override)
        ports = ("LOGIN_PORT", "JOINER_LOGIN_PORT", "HUB_PORT", "HUB_P2P_PORT")
        self.variables = {
            **{port: str(free_port()) for port in ports},
            **{f"{name}_DIR": str(folder / name.lower()) for name in ("USER", "JOINER", "HUB", "CACHE")},
            **variables,
        }

    def override(self, services: dict[str, Any]) -> None:
        """Services' keys that a second compose file adds to the project's own."""
        # With the oldest compose files of one project must name one version.
        self._override.write_text(json.dumps({"version": "3.9", "services": services}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self("down", "--timeout", "5", "--remove-orphans", check=False)

    def folder_of(self, name: str, *, owner: int) -> Path:
        """The folder USER_DIR, JOINER_DIR, HUB_DIR or CACHE_DIR, made for that user: nobody else may look into it."""
        path = Path(self.variables[name])
        path.mkdir(mode=0o700, exist_ok=True)
        os.chown(path, owner, owner)
        return path

    def command(self, *arguments: str) -> list[str]:
        """The command line of ``docker compose ARGUMENT...``, to be run with ``environ``."""
        files = [REPOSITORY / "docker-compose.yaml", *([self._override] if self._override.exists() else [])]
        named = [word for file in files for word in ("-f", str(file))]
        return ["docker", "compose", *named, "--project-directory", str(REPOSITORY), *arguments]

    @property
    def environ(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(_STEERING)}
        return {**ours, "COMPOSE_PROJECT_NAME": self.project, **self.variables}

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``docker compose ARGUMENT...`` without a terminal."""
        return _run(self.command(*arguments), self.environ, check)

    def container(self, service: str) -> str:
        """The id of the service's container, running or not."""
        return docker("ps", "--all", "--quiet", "--latest", *_labelled(self.project, service))


class ContainerNode:
    """A node in a container, seen as ``wait_for`` sees a program."""

    def __init__(self, compose: Compose, service: str, home: Path) -> None:
        self.name = service
        self._compose = compose
        self.home = Home(root=home, identity_path=home / "keys" / "swarm.pem")

    @property
    def container(self) -> str:
        return self._compose.container(self.name)

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        running, status = inspect(self.container, "{{.State.Running}} {{.State.ExitCode}}").split()
        return None if running == "true" else int(status)

    @property
    def peer_id(self) -> str:
        return load_identity(self.home.identity).peer_id

    @property
    def health(self) -> str:
        """starting, healthy or unhealthy."""
        return inspect(self.container, "{{.State.Health.Status}}")

    def reports(self) -> list[RoundReport]:
        """The rounds that it has finished, those of earlier containers included."""
        return read_reports(self.home.logs / "metrics.jsonl")

    def log(self) -> str:
        """Its log file, from earlier containers on."""
        with suppress(FileNotFoundError):
            return (self.home.logs / "swarm.log").read_text(encoding="utf-8")
        return ""

    def output(self) -> str:
        """What the container printed."""
        done = subprocess.run(["docker", "logs", self.container], capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    def last_words(self) -> str:
        return f"--- {self.name}:\n{self.output()[-2000:]}\n--- its log:\n{self.log()[-1500:]}"


def tiny_services(names: Iterable[str], model: Path, *settings: str) -> dict[str, Any]:
    """For ``Compose(override=...)``: these services play the letter tasks with the tiny model."""
    mounts = [f"{REPOSITORY / 'tests'}:{CHECKS}/tests:ro", f"{model}:{CHECKS}/model:ro"]
    environment = {"PYTHONPATH": str(CHECKS), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = ["run", *small_settings(CHECKS / "model"), *settings]
    return {name: {"volumes": mounts, "environment": environment, "command": command} for name in names}


def _labelled(project: str, service: str) -> list[str]:
    labels = (f"com.docker.compose.project={project}", f"com.docker.compose.service={service}")
    return [word for label in labels for word in ("--filter", f"label={label}")]


def _run(command: list[str], environ: dict[str, str], check: bool) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done

"""The image is built once, as its users build it; then everything here runs it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import IMAGE, REPOSITORY, Compose, inspect

BUILD_SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)
            # The first test to ask for the image builds it.
            item.add_marker(pytest.mark.timeout(BUILD_SECONDS + 300))


@pytest.fixture(scope="session")
def image() -> str:
    """The CPU image, built from this checkout; its name."""
    began = time.monotonic()
    command = ["docker", "compose", "build", "swarm-cpu"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    size = int(inspect(IMAGE, "{{.Size}}"))
    print(f"\n{IMAGE}: {size / 1e9:.2f} GB, built in {time.monotonic() - began:.0f} s")
    return IMAGE


@pytest.fixture(scope="session")
def shared_model(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, readable for whoever a container becomes."""
    folder = tmp_path_factory.mktemp("shared") / "tiny"
    shutil.copytree(tiny_model_folder, folder)
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


@pytest.fixture
def compose(image: str, tmp_path: Path) -> Iterator[Compose]:
    """A compose project with nothing changed but its folders and ports."""
    with Compose(tmp_path) as project:
        yield project

"""Whose the folders on the host are, and who a container is for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.containers import Compose

IMAGE_USER = 10001


def test_folders_of_root_are_given_to_the_images_user(compose: Compose) -> None:
    home, cache = (compose.folder_of(name, owner=0) for name in ("USER_DIR", "CACHE_DIR"))
    (home / "logs").mkdir()
    said = compose("run", "--rm", "-T", "swarm-cpu", "status").stdout
    assert "no identity" in said
    assert {path.stat().st_uid for path in (home, home / "logs", cache)} == {IMAGE_USER}


def test_folders_of_another_user_stay_theirs(compose: Compose) -> None:
    home, cache = (compose.folder_of(name, owner=4321) for name in ("USER_DIR", "CACHE_DIR"))
    compose("run", "--rm", "-T", "swarm-cpu", "status")
    assert {path.stat().st_uid for path in (home, cache)} == {4321}


def test_a_folder_that_can_not_be_written_ends_the_start_with_a_sentence(image: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    command = ["docker", "run", "--rm", "--user", "5000", "--volume", f"{tmp_path}:/user", image]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "user 5000 can't write to /user" in done.stderr


def test_where_nothing_is_mounted_the_loss_is_announced(image: str) -> None:
    done = subprocess.run(["docker", "run", "--rm", image, "status"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "will be gone with this container" in done.stderr

"""What a container makes of the folders and variables that it finds."""

from __future__ import annotations

import os
from typing import Any

import pytest


def owners(container: Any, *paths: str) -> list[int]:
    return [(container.home / path).stat().st_uid for path in paths]


@pytest.mark.parametrize("home_mode", [0o755, 0o700])
def test_folders_of_an_earlier_images_user_are_taken_over(container: Any, home_mode: int) -> None:
    container.home.chmod(home_mode)
    container.put("keys/swarm.pem", "the key", owner=1001, mode=0o400, folder_mode=0o700)
    container.put("logs/swarm.log", "", owner=1001, mode=0o600)
    container.put("configs/rg-swarm.yaml", "", owner=1001, mode=0o644)
    container.put(".rl-swarm/checkpoints/step-1/swarm.json", "", owner=1001, mode=0o600)
    done = container.run("status")
    assert done.returncode == 0, done.stderr
    assert "user: 1000\n" in done.stdout
    assert "/mnt/user/keys/swarm.pem: the key\n" in done.stdout
    assert (
        owners(container, "keys", "keys/swarm.pem", "logs/swarm.log", ".rl-swarm/checkpoints/step-1/swarm.json")
        == [1000] * 4
    )
    assert (container.home / "keys" / "swarm.pem").stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize("path", ["keys/swarm.pem", "swarm.pem"])
def test_a_key_that_was_copied_with_sudo_is_taken_over(container: Any, path: str) -> None:
    container.put("keys/others.pem", "", owner=1000, mode=0o600)
    container.put(path, "the key", owner=0, mode=0o600)
    done = container.run("status")
    assert done.returncode == 0, done.stderr
    assert f"/mnt/user/{path}: the key\n" in done.stdout
    assert owners(container, path) == [1000]


def test_other_containers_homes_and_the_shared_cache_stay_whose_they_are(container: Any) -> None:
    container.put("hub/keys/swarm.pem", "", owner=1001, mode=0o600)
    container.put("joiner/keys/swarm.pem", "", owner=1001, mode=0o600)
    container.put("cache/model.bin", "", owner=1001, mode=0o600)
    assert container.run("status").returncode == 0
    assert owners(container, "hub/keys", "joiner/keys/swarm.pem", "cache", "cache/model.bin") == [1001] * 4


def test_what_everybody_may_write_is_left_to_whoever_owns_it(container: Any) -> None:
    container.put("logs/swarm.log", "", owner=1001, mode=0o666, folder_mode=0o777)
    assert container.run("status").returncode == 0
    assert owners(container, "logs", "logs/swarm.log") == [1001, 1001]


def test_a_link_out_of_the_folder_gives_nothing_away(container: Any) -> None:
    aim = container.folder / "app" / "secret"
    aim.write_text("")
    aim.chmod(0o600)
    (container.home / "keys").mkdir()
    (container.home / "keys" / "link").symlink_to("/mnt/app/secret")
    (container.home / "logs").symlink_to("/mnt/app")
    container.run("status")
    assert (aim.stat().st_uid, (container.folder / "app").stat().st_uid) == (0, 0)


@pytest.mark.parametrize(
    ("rights", "user"), [("+setgid,+setuid", 0), ("+chown,+kill,+setgid,+setuid", 1000)], ids=["no chown", "no root"]
)
def test_a_file_that_can_not_be_taken_over_is_named_with_its_owner(container: Any, rights: str, user: int) -> None:
    container.put("keys/swarm.pem", "the key", owner=1001, mode=0o400)
    os.chown(container.home / "keys", 1000, 1000)
    done = container.run("status", rights=rights, user=user)
    assert done.returncode == 1
    assert "user 1000 can't read or change /mnt/user/keys/swarm.pem (of user 1001)." in done.stderr
    assert "launched" not in done.stdout


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("given", ["NO_PROXY", "no_proxy", None])
def test_behind_a_proxy_the_container_and_its_hub_are_reached_past_it(
    container: Any, variable: str, given: str | None
) -> None:
    exceptions = {given: "intranet.example.org"} if given else {}
    variables = {variable: "http://proxy.example.org:3128", "HUB_PUBLIC_HOST": "swarm.example.org", **exceptions}
    done = container.run("status", **variables)
    past = ("intranet.example.org," if given else "") + "localhost,127.0.0.1,::1,hub,swarm.example.org"
    assert f"no_proxy: {past}\n" in done.stdout
    assert f"NO_PROXY: {past}\n" in done.stdout


def test_without_a_proxy_there_is_nothing_to_pass_by(container: Any) -> None:
    assert "no_proxy: unset\nNO_PROXY: unset\n" in container.run("status").stdout

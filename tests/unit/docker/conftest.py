"""The entrypoint in a namespace with a container's folders, and with no more rights than compose leaves to root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]

# Stands in for the launcher: says who it is, what it was told, and what it can read.
LAUNCHER = r"""#!/usr/bin/env bash
printf 'launched: %s\n' "$*"
printf 'user: %s\n' "$(id -u)"
printf 'no_proxy: %s\n' "${no_proxy-unset}"
printf 'NO_PROXY: %s\n' "${NO_PROXY-unset}"
find "$RL_SWARM_HOME" -name '*.pem' -exec sh -c 'printf "%s: %s\n" "$1" "$(cat "$1")"' sh {} \;
"""

NAMESPACE = r"""
set -e
mount -t tmpfs none /mnt
mkdir /mnt/app /mnt/user /mnt/cache
mount --bind "$1/app" /mnt/app
mount --bind "$1/user" /mnt/user
mount --bind "$1/cache" /mnt/cache
mount -t tmpfs -o mode=1777 none /tmp
shift
exec setpriv --bounding-set -all,"$RIGHTS" -- "$@"
"""


class Container:
    """Folders as they are on the host, and the entrypoint started over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "user"
        for name in ("app/docker", "user", "cache"):
            (folder / name).mkdir(parents=True)
        shutil.copy2(REPOSITORY / "docker" / "entrypoint.sh", folder / "app" / "docker")
        launcher = folder / "app" / "run_rl_swarm.sh"
        launcher.write_text(LAUNCHER)
        launcher.chmod(0o755)

    def put(self, path: str, content: str, *, owner: int, mode: int, folder_mode: int = 0o755) -> Path:
        """A file in the home, in a folder of the same owner."""
        file = self.home / path
        if not file.parent.exists():
            file.parent.mkdir(parents=True)
            file.parent.chmod(folder_mode)
            os.chown(file.parent, owner, owner)
        file.write_text(content)
        file.chmod(mode)
        os.chown(file, owner, owner)
        return file

    def run(
        self, *arguments: str, rights: str = "+chown,+kill,+setgid,+setuid", user: int = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Start the container as that user; ``rights`` are the capabilities that root has in it."""
        starting = ["/mnt/app/docker/entrypoint.sh", *arguments]
        if user:
            starting = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--", *starting]
        return subprocess.run(
            ["unshare", "--mount", "bash", "-c", NAMESPACE, "bash", str(self.folder), *starting],
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "RIGHTS": rights,
                "RL_SWARM_HOME": "/mnt/user",
                "XDG_CACHE_HOME": "/mnt/cache",
                **variables,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )


def _missing() -> str | None:
    """Why this machine can't play the container; None when it can."""
    if os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("unshare"):
        return "needs root, setpriv and unshare"
    tried = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return None if tried.returncode == 0 else "no file system may be mounted here"


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """A container of user 1000's, whose folders are empty."""
    if reason := _missing():
        pytest.skip(reason)
    made = Container(tmp_path)
    for name in ("user", "cache"):
        os.chown(tmp_path / name, 1000, 1000)
    return made

"""What goes to the builder: only what was meant to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support.containers import REPOSITORY

PRIVATE = [
    ".env",
    ".env.local",
    ".git/config",
    ".rl-swarm/account.key",
    "configs/rg-swarm.yaml",
    "logs/swarm.log",
    "swarm.pem",
    "account.key",
    "user/keys/swarm.pem",
    "user/.rl-swarm/account.key",
    "user/modal-login/userApiKey.json",
    "user/logs/swarm.log",
    "modal-login/.env.local",
    "modal-login/temp-data/userData.json",
    "modal-login/temp-data/token",
    "modal-login/node_modules/a.js",
    "modal-login/.next/server.js",
    "modal-login/userApiKey.json",
    "rgym_exp/swarm.pem",
    "rgym_exp/.env",
    "docker/secret.key",
    "rgym_exp/__pycache__/a.pyc",
    "contracts/node_modules/a.js",
    "second-node/swarm.pem",
    "tests/conftest.py",
]
WANTED = [
    "rgym_exp/cli.py",
    "modal-login/app/page.tsx",
    "docker/entrypoint.sh",
    "scripts/environment.sh",
    "pyproject.toml",
]


def test_keys_logs_user_data_and_history_stay_out_of_the_build_context(tmp_path: Path) -> None:
    checkout, seen = tmp_path / "checkout", tmp_path / "seen"
    for name in (*PRIVATE, *WANTED):
        file = checkout / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("something\n")
    shutil.copy2(REPOSITORY / ".dockerignore", checkout)
    subprocess.run(
        ["docker", "build", "--quiet", "--file", "-", "--output", f"type=local,dest={seen}", str(checkout)],
        input="FROM scratch\nCOPY . /\n",
        text=True,
        check=True,
        timeout=120,
    )
    assert sorted(str(path.relative_to(seen)) for path in seen.rglob("*") if path.is_file()) == sorted(WANTED)

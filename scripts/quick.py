"""The developer's inner loop: linters, types, and the unit tests of what changed. `make quick` calls this.

Usage: python scripts/quick.py [BASE]    (default: where this branch left main, or on main the commit before)

A module's tests are those that import it by name, and those named after it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

STATIC = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    (sys.executable, "scripts/check_words.py"),
    ("mypy",),
)


def changed(base: str) -> list[str]:
    """Files that differ from the base, uncommitted and new ones included."""
    return [*_git("diff", "--name-only", base), *_git("ls-files", "--others", "--exclude-standard")]


def tests_of(files: list[str]) -> list[str]:
    """The unit tests to run for these files."""
    found = {name for name in files if name.startswith("tests/unit/") and Path(name).name.startswith("test_")}
    modules = [name for name in files if name.startswith("rgym_exp/") and name.endswith(".py")]
    if modules:
        dotted = "|".join(re.escape(name.removesuffix(".py").replace("/", ".")) for name in modules)
        imports = re.compile(rf"\b({dotted})\b")
        for test in Path("tests/unit").rglob("test_*.py"):
            if imports.search(test.read_text(encoding="utf-8")):
                found.add(str(test))
    return sorted(name for name in found if Path(name).exists())


def default_base() -> str:
    """Where this branch left main; on main itself the commit before."""
    here = _git("rev-parse", "HEAD")[0]
    left = _git("merge-base", "HEAD", "main")
    return left[0] if left and left[0] != here else "HEAD~1"


def _git(*arguments: str) -> list[str]:
    return subprocess.run(["git", *arguments], capture_output=True, text=True).stdout.split()


def main() -> int:
    """The first failure's status, or 0."""
    tests = tests_of(changed(sys.argv[1] if len(sys.argv) > 1 else default_base()))
    pytest = (sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-n", "2", "--dist", "loadfile", *tests)
    for command in (*STATIC, *([pytest] if tests else [])):
        if status := subprocess.call(command):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Node.js packages of a folder as its lock file says: those of an earlier run where the lock file is the same.

Usage: python scripts/packages.py FOLDER

With CHECKS_CACHE set, what was installed is kept there by the lock file's digest, and laid into other checkouts as hard
links. Nothing of it is trusted that was not put there whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def main(folder: Path) -> int:
    """0 when the packages are there."""
    lock, installed = folder / "package-lock.json", folder / "node_modules"
    # npm writes what it installed into this note; an older one belongs to an older lock file.
    note = installed / ".package-lock.json"
    if note.exists() and note.stat().st_mtime >= lock.stat().st_mtime:
        return 0
    kept = _kept(lock)
    if kept is not None and kept.is_dir():
        print(f"{folder}: the packages of an earlier run with the same lock file ({kept})")
        shutil.rmtree(installed, ignore_errors=True)
        _lay(kept, installed)
        note.touch()
        return 0
    status = subprocess.call(["npm", "--prefix", str(folder), "ci", "--no-audit", "--no-fund"])
    if status == 0 and kept is not None:
        _keep(installed, kept)
    return status


def _kept(lock: Path) -> Path | None:
    """Where the packages of this lock file are kept, for this Node.js; None without a cache."""
    if not (cache := os.environ.get("CHECKS_CACHE")):
        return None
    node = subprocess.run(["node", "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(lock.read_bytes() + node).hexdigest()[:16]
    return Path(cache) / f"packages-{lock.parent.name}-{digest}"


def _keep(installed: Path, kept: Path) -> None:
    """Keep a copy under its name, whole or not at all, and forget those of other lock files."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=kept.parent)) / "packages"
    try:
        _lay(installed, work)
        for older in kept.parent.glob(f"{kept.name.rpartition('-')[0]}-*"):
            shutil.rmtree(older, ignore_errors=True)
        work.rename(kept)
    finally:
        shutil.rmtree(work.parent, ignore_errors=True)


def _lay(source: Path, target: Path) -> None:
    """A copy by hard links; whole files where the two are on different disks."""
    try:
        shutil.copytree(source, target, symlinks=True, copy_function=os.link)
    except (OSError, shutil.Error):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, symlinks=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

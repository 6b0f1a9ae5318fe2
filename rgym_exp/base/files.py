"""Writing a file so that a crash leaves the old one or the new one; reading the end of one; putting one aside."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
import time
from pathlib import Path


def atomic_write(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put ``data`` at ``path`` with permissions ``mode``; missing folders are made.

    The bytes go to a temporary file in the same folder, which is flushed to the disk and then renamed over ``path``.
    The temporary file is private (0600) from its first moment, so a key is never readable by others, not even briefly.

    Raises:
        OSError: the folder can't be written, or the disk is full. ``path`` is then as it was.
    """
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(folder)


def write_new(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``, whole or not at all, mode 0600, and never over an existing file; for keys.

    Raises:
        FileExistsError: there is a file; it is as it was.
        OSError: the folder can't be written, or the disk is full.
    """
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")  # 0600 from the start
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            # Unlike a rename, a link fails where there is a file already.
            os.link(name, path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            _copy_exclusively(path, data)  # a file system without hard links
    finally:
        os.unlink(name)
    sync(folder)


def last_lines(path: Path, *, max_bytes: int = 8192) -> list[str]:
    """The lines at the end of a log that aren't empty, without the spaces around them.

    The first may have lost its beginning: no more than ``max_bytes`` are read.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - max_bytes))
        lines = [line.decode("utf-8", "replace").strip() for line in file.read().splitlines()]
    return [line for line in lines if line]


def set_aside(path: Path, reason: object, then: str, *, log: logging.Logger) -> Path | None:
    """Rename a file that can't be used, and what SQLite keeps beside it, and warn; None where it can't be renamed.

    Args:
        reason: what is wrong with it.
        then: a sentence about what that means.
    """
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
    count = 1
    while aside.exists():
        count += 1
        aside = aside.with_name(f"{aside.name.partition('~')[0]}~{count}")
    fate = f"It is kept as {aside.name}."
    kept: Path | None = aside
    try:
        for beside in ("-wal", "-shm"):
            if (lies_there := path.with_name(path.name + beside)).exists():
                lies_there.rename(aside.with_name(aside.name + beside))
        path.rename(aside)
    except OSError as error:
        fate, kept = f"It could not be moved ({error.strerror}).", None
    log.warning("%s can't be used (%s). %s %s", path, reason, fate, then)
    return kept


def _copy_exclusively(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's entries, on the disk: else a power cut may forget a rename. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

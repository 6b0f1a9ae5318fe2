"""Writing a file so that a crash leaves the old one or the new one, never half of either; reading the end of one."""

from __future__ import annotations

import errno
import os
import tempfile
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
    _flush_folder(folder)


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
    _flush_folder(folder)


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


def _copy_exclusively(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    # Without this a power cut may forget the rename although the bytes are on the disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

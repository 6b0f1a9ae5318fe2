"""A file that one process at a time holds locked; the system frees it however its holder ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor

TRY_EVERY_SECONDS = 0.1


@contextmanager
def file_lock(
    path: Path, *, wait: threading.Event | None = None, on_wait: Callable[[float], None] = lambda seconds: None
) -> Iterator[int | None]:
    """The lock's descriptor for as long as the context lasts; None where another process has it.

    A program that is handed the descriptor keeps the lock, too: it is free when both have ended.

    Args:
        wait: try until the lock is free, or this is set; without it, try once.
        on_wait: called before each further try with the seconds waited so far.

    Raises OSError: the file can't be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    began = time.monotonic()
    try:
        while not (held := lock_descriptor(descriptor, blocking=False)) and wait is not None:
            on_wait(time.monotonic() - began)
            if wait.wait(TRY_EVERY_SECONDS):
                break
        yield descriptor if held else None
    finally:
        os.close(descriptor)

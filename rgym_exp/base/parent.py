"""Ending with whoever started this process, also when that one was killed."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable

CHECK_SECONDS = 1.0


def when_parent_is_gone(act: Callable[[], object]) -> None:
    """Call ``act`` once, from a thread of its own, when standard input closes or the parent process has changed.

    The parent holds the other end of standard input, which the system closes however the parent ends. Should a
    child of the parent have inherited that end, the changed parent is noticed within CHECK_SECONDS.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            readable, _, _ = select.select([sys.stdin], [], [], CHECK_SECONDS)
            if readable and not os.read(sys.stdin.fileno(), 4096):
                break
        act()

    threading.Thread(target=watch, name="parent watch", daemon=True).start()

"""One node per home: two would be the same peer twice, with one outbox and one folder of checkpoints."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from rgym_exp.config.paths import Home
from rgym_exp.errors import SwarmUserError


class HomeTaken(SwarmUserError):
    """Another node runs from this home."""


@contextmanager
def only_node_of(home: Home) -> Iterator[None]:
    """Hold the home's lock. The system frees it however this process ends.

    Raises:
        HomeTaken: another process holds it.
    """
    home.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home.state / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HomeTaken(
                f"A node already runs from {home.root}. Stop it first, or give this one a folder of its own with "
                "--home DIR: it will be another peer."
            ) from error
        yield

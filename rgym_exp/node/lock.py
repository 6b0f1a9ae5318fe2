"""One node per home: two would be the same peer twice, with one outbox and one folder of checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rgym_exp.base.lock import file_lock
from rgym_exp.config.paths import Home
from rgym_exp.errors import SwarmUserError


class HomeTaken(SwarmUserError):
    """Another node runs from this home."""


@contextmanager
def only_node_of(home: Home) -> Iterator[None]:
    """Hold the home's lock. The system frees it however this process ends.

    Raises:
        HomeTaken: another process holds it.
        SwarmUserError: the home can't be written.
    """
    with ExitStack() as life:
        try:
            home.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            held = life.enter_context(file_lock(home.state / "run.lock"))
        except OSError as error:
            raise SwarmUserError(
                f"Nothing can be written in {home.state} ({error.strerror}). Mend its owner and permissions, or choose"
                " another folder with --home."
            ) from error
        if held is None:
            raise HomeTaken(
                f"A node already runs from {home.root}. Stop it first, or give this one a folder of its own with "
                "--home DIR: it will be another peer."
            )
        yield

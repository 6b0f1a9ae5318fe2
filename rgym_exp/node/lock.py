"""One node per home and per identity: two would be the same peer twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rgym_exp.base.lock import file_lock
from rgym_exp.config.paths import Home
from rgym_exp.errors import SwarmUserError
from rgym_exp.swarm.identity import load_identity


class HomeTaken(SwarmUserError):
    """Another node runs from this home."""


class IdentityTaken(SwarmUserError):
    """Another node on this machine plays with the same identity."""


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


@contextmanager
def only_node_with_identity(home: Home, folder: Path) -> Iterator[None]:
    """Hold this machine's lock of the home's identity, where there is one yet: a copy of it may lie in another home.

    Args:
        folder: where all nodes of a user keep these locks.

    Raises:
        IdentityTaken: another process holds it: both would be one peer, alone with itself.
        IdentityError: the identity can't be read.
        SwarmUserError: the folder can't be written.
    """
    if not home.identity.exists():
        yield
        return
    peer_id = load_identity(home.identity).peer_id
    with ExitStack() as life:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = life.enter_context(file_lock(folder / f"{peer_id}.lock"))
        except OSError as error:
            raise SwarmUserError(
                f"Nothing can be written in {folder} ({error.strerror}). Mend its owner and permissions, or set "
                "XDG_CACHE_HOME to another folder."
            ) from error
        if held is None:
            raise IdentityTaken(
                f"A node with the identity in {home.identity} (peer {peer_id}) already runs on this machine, from "
                "another folder. Two of them would be one peer. Stop it, or move this file away: a new one is made."
            )
        yield

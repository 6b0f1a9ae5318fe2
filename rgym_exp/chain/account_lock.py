"""One sender per account on this machine: two at once would use the same nonce, and one transaction would be lost."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger("rl_swarm.chain")

TRY_EVERY_SECONDS = 0.1
MENTION_AFTER_SECONDS = 2.0
"""Shorter waits are the ordinary taking of turns."""


class AccountLock:
    """A file lock that the system frees however its holder ends. Held for one transaction at a time, so that several
    nodes of one account take turns. Nodes on other machines aren't seen; a nonce that they take first is detected and
    the transaction is signed anew."""

    def __init__(self, folder: Path, *, account: str, chain_id: int | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{chain_id or 'chain'}-{account.lower()}.lock"
        self._mentioned = False

    @contextmanager
    def held(self, stop: threading.Event) -> Iterator[bool]:
        """Wait for the lock; False when ``stop`` was set first. Raises OSError when the file can't be opened."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield self._acquire(descriptor, stop)
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int, stop: threading.Event) -> bool:
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if not self._mentioned and time.monotonic() - began > MENTION_AFTER_SECONDS:
                    self._mentioned = True
                    logger.info(
                        "Another node of this account is sending; this one waits for its turn (%s).", self._path.name
                    )
            if stop.wait(TRY_EVERY_SECONDS):
                return False

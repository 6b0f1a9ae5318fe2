"""One sender per account on this machine: two at once would use the same nonce, and one transaction would be lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rgym_exp.base.lock import file_lock

logger = logging.getLogger("rl_swarm.chain")

MENTION_AFTER_SECONDS = 2.0
"""Shorter waits are the ordinary taking of turns."""


class AccountLock:
    """Held for one transaction at a time, so that several nodes of one account take turns. Nodes on other machines
    aren't seen; a nonce that they take first is detected and the transaction is signed anew."""

    def __init__(self, folder: Path, *, account: str, chain_id: int | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{chain_id or 'chain'}-{account.lower()}.lock"
        self._mentioned = False

    @contextmanager
    def held(self, stop: threading.Event) -> Iterator[bool]:
        """Wait for the lock; False when ``stop`` was set first. Raises OSError when the file can't be opened."""
        with file_lock(self._path, wait=stop, on_wait=self._mention) as lock:
            yield lock is not None

    def _mention(self, seconds: float) -> None:
        if not self._mentioned and seconds > MENTION_AFTER_SECONDS:
            self._mentioned = True
            logger.info("Another node of this account is sending; this one waits for its turn (%s).", self._path.name)

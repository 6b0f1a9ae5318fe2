"""Rewards and votes that the outbox's disk has no room for: kept in memory until it has."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.outbox import Outbox
from rgym_exp.chain.outbox_rows import NONE
from rgym_exp.chain.writes import Kind, title

logger = logging.getLogger("rl_swarm.chain")

MOST_HELD = 10_000
"""Reward and vote of five thousand rounds; beyond it the oldest are given up."""


@dataclass(frozen=True, kw_only=True)
class _Write:
    kind: Kind
    peer_id: str
    round: int
    stage: int
    payload: Mapping[str, Any]


class HeldWrites:
    """Writes on their way into the outbox, in order. Safe to call from any thread: the view asks what waits, too."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._held: deque[_Write] = deque(maxlen=MOST_HELD)
        self._lock = threading.Lock()
        """Held while the first is handed over and taken away, or another thread would take away one that was not."""

    def __len__(self) -> int:
        return len(self._held)

    def owe(
        self, kind: Kind, *, peer_id: str, round: int, stage: int = NONE, payload: Mapping[str, Any] | None = None
    ) -> None:
        """Owe a write, after those that are held; never raises for a disk that is full."""
        with self._lock:
            held_before = len(self._held)
            self._held.append(_Write(kind=kind, peer_id=peer_id, round=round, stage=stage, payload=payload or {}))
            self._hand_over(held_before)

    def try_again(self) -> None:
        """Hand over what is held, as far as there is room."""
        with self._lock:
            if self._held:
                self._hand_over(len(self._held))

    def give_up(self) -> None:
        """The end of the run: a last try, and a sentence about what is lost if it fails."""
        self.try_again()
        if self._held:
            names = sorted({title(each.kind, each.round, each.stage) for each in self._held})
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            logger.error(
                "Lost, since the outbox had no room for them until the end: %s%s. Make room on its disk.",
                ", ".join(names[:3]), more,
            )  # fmt: skip

    def _hand_over(self, held_before: int) -> None:
        while self._held:
            first = self._held[0]
            try:
                self._outbox.add(
                    first.kind, peer_id=first.peer_id, round=first.round, stage=first.stage, payload=first.payload
                )
            except ChainError as error:
                if not held_before:
                    logger.warning(
                        "The %s is kept in memory until it fits into the outbox, and lost if the node ends before. %s",
                        title(first.kind, first.round, first.stage), error,
                    )  # fmt: skip
                return
            self._held.popleft()
        if held_before:
            logger.info("The outbox has room again: all that was kept in memory is in it.")

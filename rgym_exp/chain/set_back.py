"""Noticing that the chain was set back, and owing again what it lost: the outbox believes the contract, not its notes.

A hub that was killed loses the last seconds of its devnet, one restored from a backup any number of rounds. What the
outbox then still calls confirmed may not be on the chain any more.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Protocol

from rgym_exp.chain.outbox import Outbox
from rgym_exp.chain.outbox_rows import Row

logger = logging.getLogger("rl_swarm.chain")

LOOK_SECONDS = 10.0
"""Between two looks. They are made when there is something to do only, so mostly one a round."""
_ENOUGH_FOUND = 10
"""So many confirmed rows that the chain has, newest first: those before them are there as well."""
_LOST = "the chain was set back and lost it, so it is sent again"


class ChainViews(Protocol):
    """What the chain says about itself and about rows. Every method raises as ``Sender``'s do."""

    def newest_block(self) -> tuple[int, str]:
        """Its number and hash."""
        ...

    def block_hash(self, number: int) -> str | None:
        """The hash of the block with this number; None where the chain doesn't keep it (any more)."""
        ...

    def round(self) -> int:
        """The contract's."""
        ...

    def has(self, row: Row) -> bool | None:
        """Whether the contract shows what the row is for; None where it is too old to be asked."""
        ...


class SetBackWatch:
    """Compares the chain with the block that was seen last, in this run or in one before."""

    def __init__(
        self,
        outbox: Outbox,
        views: ChainViews,
        *,
        look_seconds: float = LOOK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.at_round: int | None = None
        """Where the contract is, while what it lost is of later rounds, which it would refuse now; else None."""
        self._outbox = outbox
        self._views = views
        self._look_seconds = look_seconds
        self._clock = clock
        self._next_look = -math.inf
        self._wanted = True

    def want_look(self) -> None:
        """Something was written: the chain is looked at, now or when the time has come."""
        self._wanted = True

    def next_look(self) -> float | None:
        """When, in monotonic seconds; None when there is no reason to."""
        return self._next_look if self._wanted or self.at_round is not None else None

    def look(self) -> None:
        """Look at the chain if it is time to; owe again what it lost, if it was set back. Raises as ``Sender``'s do."""
        due = self.next_look()
        if due is None or self._clock() < due:
            return
        self._next_look = self._clock() + self._look_seconds
        self._wanted = False
        try:
            self._look()
        except BaseException:
            self._wanted = True
            raise

    def _look(self) -> None:
        seen = self._outbox.block_seen()
        number, hash = self._views.newest_block()
        is_behind = self.at_round is not None or (seen is not None and seen.is_behind)
        if seen is not None and self._was_set_back(seen.number, seen.hash, number, hash):
            is_behind = self._owe_lost(seen.number, number) or is_behind
        self.at_round = self._views.round() if is_behind else None
        if self.at_round is not None and not self._outbox.is_ahead(self.at_round):
            self.at_round = None
        # Last, so that a crash in between has the rows looked at again.
        self._outbox.see_block(number, hash, is_behind=self.at_round is not None)

    def _was_set_back(self, seen_number: int, seen_hash: str, number: int, hash: str) -> bool:
        if number == seen_number:
            return hash != seen_hash
        # A chain may have grown again since; and one that doesn't keep the block leaves it open, so rows are looked at.
        return number < seen_number or self._views.block_hash(seen_number) != seen_hash

    def _owe_lost(self, seen_number: int, number: int) -> bool:
        """Owe again what the chain lost; whether there was any."""
        at_round = self._views.round()
        lost = found = 0
        row = self._outbox.confirmed_before(None)
        while row is not None and found < _ENOUGH_FOUND:
            has = not _is_ahead(row, at_round) and self._views.has(row)
            if has:
                found += 1
            elif has is False:
                lost += 1
                self._lose(row)
            row = self._outbox.confirmed_before(row)
        for sent in self._outbox.sent():
            if _is_ahead(sent, at_round):
                # Signed for another past: its number is too high, or the contract would refuse it.
                self._outbox.owe_again(sent, _LOST)
                lost += 1
        if lost:
            logger.warning(
                "The chain was set back (block %d was seen, it is at %d, in round %d): %d writes that it lost are sent "
                "again.",
                seen_number,
                number,
                at_round,
                lost,
            )
        return lost > 0

    def _lose(self, row: Row) -> None:
        if row.kind == "bet":
            # The game may be played anew under its number, with another question.
            self._outbox.mark_refused(row, "the chain was set back and lost it; a clue is bet on once")
        else:
            self._outbox.owe_again(row, _LOST)


def _is_ahead(row: Row, at_round: int) -> bool:
    return row.kind in ("reward", "winners") and row.round > at_round

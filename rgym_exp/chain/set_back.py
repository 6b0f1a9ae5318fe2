"""Noticing that the chain was set back, and owing again what it lost: the outbox believes the contract, not its notes.

A hub that was killed loses the last seconds of its devnet, one restored from a backup any number of rounds. What the
outbox then still calls confirmed may not be on the chain any more.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from rgym_exp.chain.outbox import Outbox
from rgym_exp.chain.outbox_rows import Row
from rgym_exp.chain.sender import Absent, ChainViews

logger = logging.getLogger("rl_swarm.chain")

LOOK_SECONDS = 10.0
"""Between two looks. They are made when there is something to do only, so mostly one a round."""
_ENOUGH_FOUND = 10
"""So many confirmed rows that the chain has, newest first: those before them are there as well."""
_LOST = "the chain was set back and lost it, so it is sent again"


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
        self._is_suspicious = True
        """Whether rows are looked at whatever the blocks say. At a start: the last run may have ended before it could
        remember the block of its last write."""
        self._unseen = False
        """Whether something was confirmed in a block that isn't remembered yet."""

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

    def confirmed(self) -> None:
        """A row was confirmed: the block that it is in has to be remembered."""
        self._unseen = True

    def remember(self) -> None:
        """Remember the newest block, if something was confirmed since the last time. Never raises Absent."""
        if not self._unseen or self._is_suspicious:
            return
        try:
            number, hash = self._views.newest_block()
        except Absent:
            self.chain_away()
            return
        self._outbox.see_block(number, hash, is_behind=self.at_round is not None)
        self._unseen = False

    def chain_away(self) -> None:
        """The chain went away; if that was before the last block could be remembered, it may come back without it."""
        if self._unseen:
            self._is_suspicious = self._wanted = True

    def _look(self) -> None:
        seen = self._outbox.block_seen()
        if seen is None and self._outbox.confirmed_before(None) is None and not self._outbox.sent():
            self._is_suspicious = False  # there is nothing yet that the chain could lose
            return
        is_behind = self.at_round is not None or (seen is not None and seen.is_behind)
        # One that doesn't keep the block any more leaves it open whether it was set back.
        if self._is_suspicious or (seen is not None and self._views.block_hash(seen.number) != seen.hash):
            is_behind = self._owe_lost() or is_behind
            # After the rows, so that a crash in between has them looked at again.
            self._unseen = True
        self.at_round = self._views.round() if is_behind else None
        if self.at_round is not None and not self._outbox.is_ahead(self.at_round):
            self.at_round = None
        if seen is not None and seen.is_behind != (self.at_round is not None):
            self._unseen = True
        self._is_suspicious = False
        self.remember()

    def _owe_lost(self) -> bool:
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
                "The chain was set back and is in round %d: %d writes that it lost are sent again.", at_round, lost
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

"""Empties the outbox: one thread that sends, watches, and tries again, so that training never waits for the chain."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Literal

from rgym_exp.chain.account_lock import AccountLock
from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.outbox import Outbox
from rgym_exp.chain.outbox_rows import Row
from rgym_exp.chain.sender import Absent, Retry, Sender, TransactionRefused
from rgym_exp.chain.set_back import LOOK_SECONDS, SetBackWatch
from rgym_exp.chain.verdict import (
    Verdict,
    is_settled_for_owner,
    meaning,
    settled_detail,
    someone_elses_peer,
    verdict,
)
from rgym_exp.chain.writes import title

logger = logging.getLogger("rl_swarm.chain")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """When to try again and when to give up."""

    first_seconds: float = 0.5
    """Wait after the first failure; doubles with each, half to one and a half times as long by chance."""
    longest_seconds: float = 30.0
    most_tries: int = 12
    """Failures that count, until a row is refused: about four minutes with the waits above."""
    confirm_seconds: float = 20.0
    """How long one transaction is watched before others get their turn."""
    look_seconds: float = 0.1
    """Wait before the first second look at a sent transaction; doubles up to ``longest_look_seconds``."""
    longest_look_seconds: float = 2.0
    chain_look_seconds: float = LOOK_SECONDS
    """Between two looks whether the chain was set back."""

    def wait(self, failures: int) -> float:
        """Seconds before the next try after so many failures, spread so that many nodes don't return at once."""
        return min(self.longest_seconds, self.first_seconds * 2.0 ** min(failures, 16)) * random.uniform(0.5, 1.5)


class Sending:
    """The thread. ``wake`` when there is something new; ``close`` to end it."""

    def __init__(
        self, outbox: Outbox, sender: Sender, lock: AccountLock | None, retry_policy: RetryPolicy | None = None
    ) -> None:
        """``lock`` None: the sender itself sees to it that the account's nodes take turns."""
        self._outbox = outbox
        self._sender = sender
        self._lock = lock
        self._retry_policy = retry_policy or RetryPolicy()
        self._set_back = SetBackWatch(outbox, sender.views, look_seconds=self._retry_policy.chain_look_seconds)
        self._changed = threading.Condition()
        self._woken = True
        self._stop = threading.Event()
        self._absences = 0
        self._absent_until = 0.0
        """Monotonic seconds, like all times here."""
        self._setbacks: Counter[int] = Counter()
        """Uncounted failures by row id, for the waits between them."""
        self._last_complaint = ""
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._set_back.want_look()
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def flush(self, timeout_seconds: float) -> bool:
        """Try to settle everything within the time; whether it was."""
        deadline = time.monotonic() + timeout_seconds
        self._absent_until = 0.0
        self.wake()
        with self._changed:
            while self._outbox.pending() > 0 and self._thread.is_alive():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return self._outbox.pending() == 0

    def close(self) -> bool:
        """End the thread. False when it is still talking to the chain; it then ends by itself, or with the process."""
        self._stop.set()
        self.wake()
        self._thread.join(timeout=2.0)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                worked = self._work_once()
            except (ChainError, OSError) as error:
                self._complain(f"The outbox can't be worked on: {error}")
                worked = False
                self._absent_until = time.monotonic() + self._retry_policy.longest_seconds
            except Exception:
                # A mistake of ours must not end the thread: rewards would stop without a word.
                logger.exception("The outbox met an error that it doesn't know; it goes on shortly.")
                worked = False
                self._absent_until = time.monotonic() + self._retry_policy.longest_seconds
            with self._changed:
                if worked:
                    self._changed.notify_all()
                elif not self._woken and not self._stop.is_set():
                    self._changed.wait(self._seconds_until_due())
                self._woken = False

    def _seconds_until_due(self) -> float | None:
        try:
            due = self._outbox.next_due(at_round=self._set_back.at_round)
        except ChainError:
            return self._retry_policy.longest_seconds
        reasons = [when for when in (due, self._set_back.next_look()) if when is not None]
        if not reasons:
            return None
        return max(0.0, max(min(reasons), self._absent_until) - time.monotonic())

    def _work_once(self) -> bool:
        """Handle one row, if one is due. The row is read again under the lock: another process may have settled it."""
        if time.monotonic() < self._absent_until:
            return False
        try:
            self._set_back.look()
        except Absent as absence:
            # It is looked at again. Meanwhile a login server may reach the chain where we don't.
            logger.debug("Whether the chain was set back can't be told now: %s", absence)
        if self._due() is None:
            self._set_back.remember()
            return False
        with self._lock.held(self._stop) if self._lock else nullcontext(True) as ours:
            row = self._due() if ours else None
            if row is None:
                return False
            try:
                self._handle(row)
            except Absent as absence:
                self._set_back.chain_away()
                self._pause(str(absence))
                self._outbox.postpone(row, str(absence), until=0.0, counted=False)
            except Retry as failure:
                self._try_later(row, str(failure), counted=failure.counted)
            else:
                self._absences = 0
                del self._setbacks[row.id]
        return True

    def _handle(self, row: Row) -> None:
        try:
            if row.status == "waiting":
                row = self._send(row)
            self._watch(row)
        except TransactionRefused as refusal:
            self._settle_refusal(row, refusal.name)

    def _send(self, row: Row) -> Row:
        recorded: list[Row] = []

        def record(hash: str | None, nonce: int | None, raw: bytes | None) -> None:
            self._outbox.mark_sent(row, hash=hash, nonce=nonce, raw=raw)
            recorded.append(replace(row, status="sent", hash=hash, nonce=nonce, raw=raw))

        try:
            hash = self._sender.send(row, record)
        except (TransactionRefused, Absent) as failure:
            if recorded and (isinstance(failure, TransactionRefused) or failure.unsent):
                self._outbox.mark_waiting(row, str(failure))
            raise
        if not recorded or recorded[-1].hash is None:
            record(hash, None, None)
        return recorded[-1]

    def _watch(self, row: Row) -> None:
        deadline = time.monotonic() + self._retry_policy.confirm_seconds
        look = self._retry_policy.look_seconds
        while True:
            outcome = self._sender.outcome(row)
            if outcome == "confirmed":
                self._outbox.mark_confirmed(row)
                self._set_back.confirmed()
                logger.debug("The %s is confirmed (%s)", title(row.kind, row.round, row.stage), row.hash)
                return
            if outcome == "void":
                what = "what was sent can't be executed any more" if row.hash else "it got no answer, nor on chain"
                reason = f"{what}, so it is sent anew"
                self._outbox.mark_waiting(row, reason)
                self._try_later(row, reason, counted=True)
                return
            if time.monotonic() > deadline or self._stop.wait(look):
                self._outbox.postpone(
                    row, "sent; the chain hasn't included it yet", until=time.monotonic() + look, counted=False
                )
                return
            look = min(2 * look, self._retry_policy.longest_look_seconds)

    def _settle_refusal(self, row: Row, name: str) -> None:
        said: Verdict | Literal["confirmed"] = verdict(name)
        if said == "ask owner":
            owner = self._sender.registered_to(row.peer_id)
            said = self._verdict_by_owner(row, name, owner)
            if owner is not None and said == "refused":
                ours, way = self._sender.account, self._sender.way_to_owner
                self._refuse(row, someone_elses_peer(row.peer_id, owner, ours, way_to_owner=way))
                return
        if said == "confirmed":
            self._outbox.mark_confirmed(row, settled_detail(name))
            self._set_back.confirmed()
        elif said == "retry":
            if row.status == "sent":
                self._outbox.mark_waiting(row, meaning(name))
            self._try_later(row, meaning(name), counted=True)
        else:
            self._refuse(row, meaning(name))

    def _verdict_by_owner(self, row: Row, name: str, owner: str | None) -> Literal["confirmed", "retry", "refused"]:
        if owner is None:
            # Not registered at all: the chain was set back, or our registration hasn't come through.
            if row.kind != "register":
                self._outbox.add("register", peer_id=row.peer_id, again=True)
            return "retry"
        if owner.lower() != self._sender.account.lower():
            return "refused"
        return "confirmed" if is_settled_for_owner(name) else "retry"

    def _due(self) -> Row | None:
        return self._outbox.due(time.monotonic(), at_round=self._set_back.at_round)

    def _pause(self, reason: str) -> None:
        self._absent_until = time.monotonic() + self._retry_policy.wait(self._absences)
        self._absences += 1
        self._complain(reason)

    def _try_later(self, row: Row, reason: str, *, counted: bool) -> None:
        if counted and row.tries + 1 >= self._retry_policy.most_tries:
            self._refuse(row, f"{reason} (given up after {row.tries + 1} tries)")
            return
        seconds = self._retry_policy.wait(row.tries + self._setbacks[row.id])
        self._setbacks[row.id] += not counted
        self._outbox.postpone(row, reason, until=time.monotonic() + seconds, counted=counted)
        if not counted:
            self._complain(reason)

    def _refuse(self, row: Row, detail: str) -> None:
        self._outbox.mark_refused(row, detail)
        about = title(row.kind, row.round, row.stage)
        self._complain(f"The {about} was refused. {detail}" if row.kind != "register" else detail)

    def _complain(self, sentence: str) -> None:
        """Warn once, and whisper while it stays the same."""
        level = logging.DEBUG if sentence == self._last_complaint else logging.WARNING
        self._last_complaint = sentence
        logger.log(level, "%s", sentence)

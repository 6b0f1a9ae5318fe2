"""Warnings that a person at the live view should see: the cause first, and none longer than it is true."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from rgym_exp.base.outage import Outage
from rgym_exp.errors import SwarmUserError

NOTICE_SECONDS = 300.0
"""How long a warning is shown that nothing takes back."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One warning."""

    text: str
    at: float
    """Monotonic seconds."""
    outage: Outage | None = None
    """What it is about, where that may be over one day."""

    def is_true(self, now: float) -> bool:
        """Whether to show it (still)."""
        return now - self.at < NOTICE_SECONDS if self.outage is None else self.outage.trouble is not None


def notice_of(record: logging.LogRecord, at: float) -> Notice:
    """What is to be shown of a record: its first line, without the text of exceptions, which is for the log."""
    outage = getattr(record, "outage", None)
    if isinstance(outage, Outage):
        # Several warnings may belong to one outage; a message of its own is no exception's text.
        text = record.getMessage() if str(record.msg).count("%s") != 1 else outage.sentence
        return Notice(text=text.partition("\n")[0], at=at, outage=outage)
    return Notice(text=_without_exceptions(record).partition("\n")[0], at=at)


def _without_exceptions(record: logging.LogRecord) -> str:
    message = str(record.msg)
    if not isinstance(record.args, tuple) or (message.startswith("%s") and isinstance(record.args[0], SwarmUserError)):
        # Our own errors are sentences: one that begins a message is what it has to say.
        return record.getMessage()
    return message % tuple("see the log" if isinstance(arg, BaseException) else arg for arg in record.args)


class NoticeHandler(logging.Handler):
    """Hands every warning to the view: with the log in a file nobody would see it."""

    def __init__(self, show: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._show(record)
        except Exception:  # A handler must never raise into the code that logs.
            self.handleError(record)

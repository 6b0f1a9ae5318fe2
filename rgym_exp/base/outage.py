"""Saying once that something fails, and once that it works again."""

from __future__ import annotations

import logging
import re


class Outage:
    """What may fail for a while: however often it does, the log has one line, and one when it is over.

    The record of the first has it as ``record.outage``, so that a view can tell whether it is over.
    """

    def __init__(
        self, log: logging.Logger, *, failing: str, works: str = "", quiet: int = 0, level: int = logging.WARNING
    ) -> None:
        """
        Args:
            failing: said when it begins to fail; the reason takes the place of ``%s``.
            works: said when it works again; nothing when empty.
            quiet: so many failures in a row are nobody's concern.
            level: how loudly, unless ``fails`` says otherwise.
        """
        self._log = log
        self._failing = failing
        self._works = works
        self._quiet = quiet
        self._level = level
        self._failures = 0
        self._told = logging.NOTSET
        """The level of what was said about this outage."""
        self.trouble: str | None = None
        """Why it fails now; None while it works, or fails quietly."""

    @property
    def sentence(self) -> str:
        """What fails, in short: without the reason, unless that is all there is to say."""
        if self._failing.startswith("%s"):
            return (self.trouble or "").partition("\n")[0]
        return re.sub(r" \(%s\)|: %s", "", self._failing)

    def fails(self, reason: object, *, level: int | None = None) -> None:
        """It failed (once more). Said again only at a higher level than before."""
        self._failures += 1
        if self._failures <= self._quiet:
            return
        self.trouble = str(reason) or type(reason).__name__
        level = self._level if level is None else level
        if level > self._told:
            self._told = level
            self._log.log(level, self._failing, self.trouble, extra={"outage": self})

    def works(self) -> None:
        """It did what it should."""
        if self._told and self._works:
            self._log.info("%s", self._works)
        self._failures, self._told, self.trouble = 0, logging.NOTSET, None

"""The base class of every error that a person can do something about."""

from __future__ import annotations


class SwarmUserError(Exception):
    """A failure whose message is a sentence for the person at the keyboard.

    The sentence says what happened, what it means and what to do next. The command line prints it without a
    traceback and exits 1. Anything that isn't one of these is a mistake of ours and is logged with its traceback.
    """

"""Words of strangers on a terminal, in a log and in a file."""

from __future__ import annotations

MAX_LENGTH = 200


def plain(value: object) -> str:
    """The value as one line of printable text: control characters could move the cursor or recolour the screen."""
    text = str(value)
    return printable(text[:MAX_LENGTH]) + ("..." if len(text) > MAX_LENGTH else "")


def printable(text: str, instead: str = "?") -> str:
    """The text with ``instead`` for each character that isn't printable."""
    return "".join(character if character.isprintable() else instead for character in text)


def one_line(text: str) -> str:
    """A message's words, at most 300 characters, fit for the middle of a sentence."""
    return " ".join(printable(text, " ").split())[:300]

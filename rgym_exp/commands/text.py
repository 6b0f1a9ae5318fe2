"""Words of strangers on a terminal."""

from __future__ import annotations

MAX_LENGTH = 200


def plain(value: object) -> str:
    """The value as one line of printable text: control characters could move the cursor or recolour the screen."""
    text = str(value)
    shown = "".join(character if character.isprintable() else "?" for character in text[:MAX_LENGTH])
    return shown + ("..." if len(text) > MAX_LENGTH else "")

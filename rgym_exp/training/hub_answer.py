"""What the process that talks to the Hugging Face Hub answers, there and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

_LONGEST_REASON = 300


@dataclass(frozen=True, kw_only=True)
class HubAnswer:
    """How a question to the Hub came out."""

    user: str = ""
    """Whose token it is, by the Hub's word."""
    url: str = ""
    """The repository's address, after a push."""
    commit: str = ""
    """Id of the commit that a push made."""
    problem: str = ""
    """What went wrong, in a few words without the token; empty when nothing did."""
    refused: bool = False
    """Whether the Hub answered that the token may not: then asking again is of no use."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> HubAnswer | None:
        """None when it is no answer."""
        try:
            return cls(**json.loads(line))
        except (ValueError, TypeError):
            return None


def first_line(text: str) -> str:
    """The first line of a message, without its full stop, and not endless."""
    return (text.strip().splitlines() or [""])[0][:_LONGEST_REASON].rstrip(". ")


def without(token: str, text: str) -> str:
    """The text without the token, wherever it stood."""
    return text.replace(token, "(hidden)") if token else text

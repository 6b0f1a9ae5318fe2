"""JSON from strangers: how deep it nests is bounded before it is parsed.

Python's parser calls itself for every level. With a recursion limit that some library raised, 100 KB of ``[`` run
through the C stack and end the process; no exception can be caught then.
"""

from __future__ import annotations

import json
from typing import Any

MAX_BRACKETS = 2_000
"""Opening brackets in a text, those within strings included, and so its greatest depth."""


def shallow_json(content: bytes, *, max_brackets: int = MAX_BRACKETS) -> Any:
    """The parsed value. The caller has capped ``content``'s length.

    Raises:
        ValueError: it is not standard JSON (which has no NaN), or has more brackets than anything honest needs.
    """
    if content.count(b"[") + content.count(b"{") > max_brackets:
        raise ValueError(f"it has more than {max_brackets} brackets")
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")

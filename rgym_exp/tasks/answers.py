"""The answer inside a completion."""

from __future__ import annotations


def extract_answer(completion: str, tag: str) -> str | None:
    """The text between the last complete pair of ``<tag>`` and ``</tag>``, stripped; None without such a pair.

    The last pair counts, so that a model may correct itself. Takes time linear in the completion's length,
    whatever a stranger writes; a regular expression would not.
    """
    opening, closing = f"<{tag}>", f"</{tag}>"
    last_closing = completion.rfind(closing)
    if last_closing < 0:
        return None
    start = completion.rfind(opening, 0, last_closing)
    if start < 0:
        return None
    start += len(opening)
    return completion[start : completion.index(closing, start)].strip()

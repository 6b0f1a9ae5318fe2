"""Fails where a word that was replaced occurs again: the project says one thing by one word (ARCHITECTURE.md, "Words").

Usage: python scripts/check_words.py [FILE...]    (default: every tracked file)
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPLACED = {
    r"foreign": "external",
    r"\bown_(groups|reward|completions)\b|\bOwnDraws\b|\bown (groups?|completions?)\b": "local",
    r"has_signal|\b(carr(y|ies)|without|no) signal\b|\b_?(teach(es)?|taught)_?\b|_teach(es)?_|zero_variance": (
        "zero-advantage group"
    ),
    r"redraw": "resample",
    r"farewell|goodbye": "leave notice",
    r"\bclerk|Clerk\b": "contract client",
    r"attendance": "peer activity",
    r"\b_?standings?\b|Standing\b": "ranking, or the totals of a peer",
    r"\bdoor\b|Door\b|_door": "RPC proxy",
    r"\bdesks?\b|Desk\b|_desk\b": "judge client",
    r"\bcages?\b|Cage|_cage": "scoring sandbox",
    r"patience": "back-off",
    r"\b_?[rR]ooms\b|_rooms\b|\b(the|a|every) \w* ?room\b(?! for)": "components (in code), packages (folders)",
    r"account_way|account way|\b(chosen|remember)_way\b": "account mode",
    r"\bstor(y|ies)\b|Story|_story": "training history",
    r"\bboards?\b|AnnouncementBoard|\b_board\b|make_board|Noticeboard": "DHT records",
    r"await_turn|\bTurn\b": "current round",
    r"\b([hH]angs?|hung) (it|them|this|an announcement|up|again)\b|_hang\b": "publish",
}
"""What must not occur (a regular expression, capitals aside only where it says so) -> what is said instead."""

LEFT_ALONE = re.compile(
    r"^(rgym_exp/aliases\.py|scripts/check_words\.py|.*package-lock\.json|.*\.(png|svg|json)|constraints\.txt|LICENSE)$"
)


def occurrences(path: Path) -> Iterator[str]:
    """A sentence for each line of the file with a replaced word."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, FileNotFoundError):
        return
    for number, line in enumerate(lines, 1):
        for pattern, instead in REPLACED.items():
            if found := re.search(pattern, line):
                yield f"{path}:{number}: {found[0]!r} was replaced by: {instead}"


def main(names: list[str]) -> int:
    """Print every occurrence; 1 if there was any."""
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    files = [name for name in (names or tracked) if not LEFT_ALONE.search(name)]
    found = [sentence for name in files for sentence in (*occurrences(Path(name)), *in_name(name))]
    print(*found, sep="\n", end="\n" if found else "")
    return bool(found)


def in_name(name: str) -> Iterator[str]:
    """A sentence if the file's own name is a replaced word."""
    for pattern, instead in REPLACED.items():
        if found := re.search(pattern, name.replace("/", " ").replace(".", " ")):
            yield f"{name}: its name has {found[0]!r}, which was replaced by: {instead}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What can be wrong with what a run is told."""

from __future__ import annotations

from collections.abc import Sequence

from rgym_exp.errors import SwarmUserError


class ConfigError(SwarmUserError):
    """A configuration that can't be run. The message names the file or flag, the key and the allowed values."""


class InviteError(SwarmUserError):
    """A text, file or URL that isn't an invite that can be used. The message says what to ask the host for."""


def joined(problems: Sequence[str]) -> str:
    """One sentence per line, so that a person can mend all of them in one go."""
    if len(problems) == 1:
        return problems[0]
    return f"The configuration has {len(problems)} mistakes:\n" + "\n".join(f"  - {problem}" for problem in problems)

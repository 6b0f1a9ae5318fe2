"""How this program was called, for messages that name a command to type.

Whoever started it by the launcher or in a container has no ``rl-swarm`` on their path: those set variables, which are
read here and nowhere else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

COMMAND_VARIABLE = "RL_SWARM_COMMAND"
"""What takes the place of ``rl-swarm`` in a command line of this user's, e.g. ``./run_rl_swarm.sh``."""
HOME_ON_HOST_VARIABLE = "RL_SWARM_HOME_ON_HOST"
"""Where a container's ``RL_SWARM_HOME`` is outside of it."""
_EXAMPLES = re.compile(r"^  rl-swarm|(?<=`)rl-swarm(?= [A-Za-z])", re.MULTILINE)


def as_called(command: str = "", environ: Mapping[str, str] = os.environ) -> str:
    """The line to type for a command of ours.

    Example: ``as_called("login") == "./run_rl_swarm.sh login"`` for a user of the launcher.
    """
    return f"{environ.get(COMMAND_VARIABLE) or 'rl-swarm'} {command}".rstrip()


def examples_as_called(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """A help text with its examples as this user would type them; columns stay in line."""
    return _EXAMPLES.sub(lambda found: found[0].replace("rl-swarm", as_called(environ=environ)), text)


def path_for_user(path: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the user finds a file: of a container's home, where that is outside of it."""
    home, outside = environ.get("RL_SWARM_HOME"), environ.get(HOME_ON_HOST_VARIABLE)
    if not home or not outside or not path.absolute().is_relative_to(home):
        return path
    return Path(outside) / path.absolute().relative_to(home)

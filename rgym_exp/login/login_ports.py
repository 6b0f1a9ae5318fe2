"""The port that the login server takes."""

from __future__ import annotations

from rgym_exp.config.ports import free_port, is_free

TRIED = 50
"""How many ports after the wanted one are looked at: people remember 3001, not 48213."""


def free_port_from(port: int) -> int:
    """The wanted port, else the next free one, else any."""
    for candidate in range(port, min(port + TRIED, 65536)):
        if is_free("127.0.0.1", candidate):
            return candidate
    return free_port()

"""Which port of this machine a server can have."""

from __future__ import annotations

import socket

TRIED = 50
"""How many ports after the wanted one are looked at: people remember 3001, not 48213."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do: a port is not taken because a connection to its last owner is still winding down.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port_from(port: int) -> int:
    """The wanted port, else the next free one, else any."""
    for candidate in range(port, min(port + TRIED, 65536)):
        if is_free(candidate):
            return candidate
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

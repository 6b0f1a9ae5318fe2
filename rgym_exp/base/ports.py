"""Which ports of this machine a server can have."""

from __future__ import annotations

import socket


def is_free(host: str, port: int) -> bool:
    """Whether a TCP server could listen there now."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: a port is not taken because a connection to its last owner is still winding down.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """Any port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def free_port_from(port: int) -> int:
    """The wanted port on loopback, else the next free one (people remember 3001, not 48213), else any."""
    return (
        next((each for each in range(port, min(port + 50, 65536)) if is_free("127.0.0.1", each)), None) or free_port()
    )

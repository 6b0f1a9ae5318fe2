"""Under which address others reach this machine, and ports that a hub must have."""

from __future__ import annotations

import ipaddress
import socket

from rgym_exp.base.ports import is_free
from rgym_exp.errors import HubError


def require_free(host: str, port: int, *, option: str, purpose: str) -> None:
    """Raise a HubError that names the port and the option that moves it, unless the port is free."""
    if port != 0 and not is_free(host, port):
        raise HubError(
            f"Port {port} on {host}, meant for {purpose}, is taken by another program (or {host} is no address of "
            f"this machine). Stop that program, or choose another port with `{option} PORT`."
        )


def reachable_host(listen_host: str, public_host: str | None) -> str:
    """The name or address that others are told, for a server that listens on ``listen_host``.

    Raises a HubError when the server listens everywhere and no address of this machine can be made out.
    """
    if public_host:
        return public_host
    if listen_host not in ("0.0.0.0", "::"):
        return listen_host
    family, elsewhere = (socket.AF_INET6, "2001:db8::1") if listen_host == "::" else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Connecting a datagram socket sends nothing; it only makes the system choose the outgoing address.
            probe.connect((elsewhere, 9))
            return str(probe.getsockname()[0])
    except OSError as error:
        raise HubError(
            f"The hub listens on {listen_host}, but which address of this machine others can reach is unknown. "
            f"Name it with `--public-host NAME-OR-ADDRESS`."
        ) from error


def bootnode_address(host: str, port: int, peer_id: str) -> str:
    """The libp2p multiaddr of a bootnode at this name or IP address."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return f"/dns4/{host}/tcp/{port}/p2p/{peer_id}"
    return f"/ip{version}/{host}/tcp/{port}/p2p/{peer_id}"


def http_url(host: str, port: int) -> str:
    """``http://host:port``, with the brackets that an IPv6 address needs."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

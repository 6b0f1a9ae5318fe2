"""What a multiaddr such as ``/ip4/203.0.113.7/tcp/4001`` says, as far as this package asks; it may be a stranger's."""

from __future__ import annotations

import ipaddress

_MAX_CHARS = 80
_LOWEST_PORT = 1024


def host_of(address: str) -> str | None:
    """The IP address that it begins with; None for one through a relay, or of another kind."""
    parts = address.split("/")
    if len(parts) < 5 or parts[1] not in ("ip4", "ip6") or "p2p-circuit" in parts:
        return None
    return parts[2]


def household_of(host: str) -> str:
    """What one household has of addresses: an IPv4 address, or the 64 bits of IPv6 that a provider gives out."""
    ip = ipaddress.ip_address(host)
    return host if ip.version == 4 else str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))


def is_plain_tcp(address: str) -> bool:
    """Whether it is an IP address and a TCP port that people may listen on, and no more."""
    parts = address.split("/")
    if len(address) > _MAX_CHARS or len(parts) != 5 or parts[3] != "tcp" or not parts[4].isdecimal():
        return False
    try:
        version = ipaddress.ip_address(parts[2]).version
    except ValueError:
        return False
    return parts[1] == f"ip{version}" and is_peer_port(int(parts[4]))


def is_peer_port(port: object) -> bool:
    """Whether a peer may say that it listens there: the lower ports are other services'."""
    return type(port) is int and port in range(_LOWEST_PORT, 65536)


def port_of(address: str) -> int:
    """The port of an address that ``is_plain_tcp``."""
    return int(address.split("/")[4])


def is_inside(address: str) -> bool:
    """Whether it is a TCP address of some house's own network: private, and not a machine's talk with itself."""
    if not is_plain_tcp(address):
        return False
    ip = ipaddress.ip_address(address.split("/")[2])
    return ip.is_private and not (ip.is_loopback or ip.is_link_local or ip.is_unspecified)


def is_on_this_machine(address: str) -> bool:
    """Whether it names the machine itself."""
    return address.startswith(("/ip4/127.", "/ip6/::1/", "/dns4/localhost/"))

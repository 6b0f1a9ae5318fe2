"""Whom the hub's limits count: the address that a request comes from, or that a trusted reverse proxy names."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from aiohttp import web

from rgym_exp.errors import HubError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CLIENT = web.RequestKey("client", str)
"""Where a request carries its client's address, for whoever limits by it."""
MAX_FORWARDED_CHARS = 1024


def trusted_networks(proxies: Sequence[str]) -> tuple[Network, ...]:
    """Addresses or networks (``172.16.0.0/12``) of reverse proxies. Raises a HubError for what is neither."""
    networks: list[Network] = []
    for proxy in proxies:
        try:
            networks.append(ipaddress.ip_network(proxy, strict=False))
        except ValueError as error:
            raise HubError(
                f"--trusted-proxy {proxy} is no address and no network. Name the reverse proxy as the hub sees it, as "
                "127.0.0.1 or 172.16.0.0/12."
            ) from error
    return tuple(networks)


class ClientAddresses:
    """Tells clients apart. A header counts only on a connection from a trusted proxy: anybody can make one up."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def is_proxy(self, address: str) -> bool:
        """Whether this is a trusted proxy's address."""
        parsed = _parsed(address)
        return parsed is not None and any(
            parsed.version == network.version and parsed in network for network in self._trusted
        )

    def of(self, request: web.BaseRequest) -> str:
        """The client's address, as limits count it: the connection's; behind trusted proxies the last entry of
        X-Forwarded-For that is none of them."""
        remote = request.remote or ""
        if not self._trusted or not self.is_proxy(remote):
            return counted(remote)
        # Each proxy adds at the end whom it was asked by; what stands before a stranger's entry is the stranger's word.
        told = ",".join(request.headers.getall("X-Forwarded-For", []))[-MAX_FORWARDED_CHARS:]
        for entry in reversed(told.split(",")):
            address = entry.strip()
            if _parsed(address) is None:
                break
            if not self.is_proxy(address):
                return counted(address)
        return counted(remote)


@lru_cache(maxsize=16_384)
def counted(address: str) -> str:
    """The address as limits count it: of IPv6 the first 64 bits, which is what one customer has."""
    parsed = _parsed(address)
    if parsed is None:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
    return str(parsed)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, an IPv4 one that is spelt as IPv6 as IPv4; None for what is none."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, ipaddress.IPv6Address) else parsed

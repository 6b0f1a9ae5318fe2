"""Where the daemon listens."""

from __future__ import annotations

import socket

import pytest

from rgym_exp.base.ports import free_port
from rgym_exp.errors import SwarmError
from rgym_exp.swarm.daemon import listen_addresses, start_daemon
from rgym_exp.swarm.identity import Identity


@pytest.mark.parametrize(
    ("host", "address"),
    [("localhost", "/ip4/127.0.0.1/tcp/4001"), ("192.0.2.1", "/ip4/192.0.2.1/tcp/4001"), ("::", "/ip6/::/tcp/4001")],
)
def test_one_address_is_one_multiaddr(host: str, address: str) -> None:
    assert listen_addresses(host, 4001) == [address]


def test_a_name_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(SwarmError, match=r"no IP address. Use 127\.0\.0\.1"):
        listen_addresses("my-machine", 0)


async def test_all_addresses_are_those_of_ipv6_too_with_one_port(identities: list[Identity]) -> None:
    p2p = await start_daemon(identities[0], host="0.0.0.0", port=0)
    try:
        _, addresses = await p2p._client.identify()
        parts = [str(address).split("/") for address in addresses]
    finally:
        await p2p.shutdown()
    assert len({each[4] for each in parts}) == 1
    kinds = {"ip4"}
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
            kinds.add("ip6")
        except OSError:
            pass  # a machine without IPv6
    assert {each[1] for each in parts} == kinds


def test_a_port_that_is_taken_for_ipv4_is_not_taken_for_ipv6_alone() -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        with pytest.raises(SwarmError, match="is taken by another program"):
            listen_addresses("0.0.0.0", taken.getsockname()[1])
    assert listen_addresses("0.0.0.0", free_port())

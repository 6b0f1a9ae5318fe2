from __future__ import annotations

import socket

import pytest

from rgym_exp.base.ports import free_port, is_free
from rgym_exp.errors import HubError
from rgym_exp.hub.addresses import bootnode_address, http_url, reachable_host, require_free


def test_a_listening_port_is_not_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not is_free("127.0.0.1", taken.getsockname()[1])
    assert is_free("127.0.0.1", free_port())


def test_an_address_of_another_machine_is_refused_with_the_option() -> None:
    with pytest.raises(HubError, match="no address of this machine.*--port"):
        require_free("192.0.2.1", 8600, option="--port", purpose="a test")


@pytest.mark.parametrize(
    ("listen", "public", "told"),
    [
        ("127.0.0.1", None, "127.0.0.1"),
        ("192.0.2.5", None, "192.0.2.5"),
        ("0.0.0.0", "swarm.example.org", "swarm.example.org"),
        ("127.0.0.1", "swarm.example.org", "swarm.example.org"),
    ],
)
def test_joiners_are_told_the_public_name_or_else_the_address(listen: str, public: str | None, told: str) -> None:
    assert reachable_host(listen, public) == told


def test_a_hub_that_listens_everywhere_never_tells_joiners_to_come_everywhere() -> None:
    try:
        told = reachable_host("0.0.0.0", None)
    except HubError as error:
        told = str(error)
        assert "--public-host" in told
    assert told not in ("0.0.0.0", "")


def test_a_hub_that_listens_on_all_of_ipv6_tells_an_ipv6_address_or_asks_for_one() -> None:
    try:
        told = reachable_host("::", None)
    except HubError as error:
        assert "--public-host" in str(error)
    else:
        assert told != "::" and socket.inet_pton(socket.AF_INET6, told)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "/ip4/192.0.2.1/tcp/38600/p2p/Qm1"),
        ("2001:db8::1", "/ip6/2001:db8::1/tcp/38600/p2p/Qm1"),
        ("swarm.example.org", "/dns4/swarm.example.org/tcp/38600/p2p/Qm1"),
    ],
)
def test_a_bootnode_is_addressed_as_libp2p_does(host: str, address: str) -> None:
    assert bootnode_address(host, 38600, "Qm1") == address


def test_an_ipv6_url_has_brackets() -> None:
    assert http_url("2001:db8::1", 8600) == "http://[2001:db8::1]:8600"

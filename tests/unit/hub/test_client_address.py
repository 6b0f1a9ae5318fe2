"""Whom limits count: the connection's address, or the one that a trusted proxy names and nobody else can."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from multidict import CIMultiDict

from rgym_exp.errors import HubError
from rgym_exp.hub.client_address import ClientAddresses, counted, trusted_networks


def client(remote: str, forwarded: list[str], *, trusted: list[str]) -> str:
    """Whom a request from ``remote`` with these X-Forwarded-For lines is counted for."""
    headers = CIMultiDict([("X-Forwarded-For", line) for line in forwarded])
    request = Mock(remote=remote, headers=headers)
    return ClientAddresses(trusted_networks(trusted)).of(request)


@pytest.mark.parametrize(
    ("remote", "forwarded", "trusted", "counts"),
    [
        pytest.param("9.9.9.9", [], [], "9.9.9.9", id="nobody is trusted: the connection"),
        pytest.param("9.9.9.9", ["1.1.1.1"], [], "9.9.9.9", id="a header of a stranger is made up"),
        pytest.param("9.9.9.9", ["1.1.1.1"], ["127.0.0.1"], "9.9.9.9", id="also where some proxy is trusted"),
        pytest.param("127.0.0.1", ["1.1.1.1"], ["127.0.0.1"], "1.1.1.1", id="the proxy's word counts"),
        pytest.param(
            "127.0.0.1", ["6.6.6.6, 1.1.1.1"], ["127.0.0.1"], "1.1.1.1", id="the last entry is the proxy's own"
        ),
        pytest.param("127.0.0.1", ["6.6.6.6", "1.1.1.1"], ["127.0.0.1"], "1.1.1.1", id="also on a line of its own"),
        pytest.param(
            "127.0.0.1",
            ["6.6.6.6, 1.1.1.1, 10.0.0.7"],
            ["127.0.0.1", "10.0.0.0/8"],
            "1.1.1.1",
            id="two proxies in a row",
        ),
        pytest.param("127.0.0.1", [], ["127.0.0.1"], "127.0.0.1", id="a proxy that says nothing counts itself"),
        pytest.param(
            "127.0.0.1", ["1.1.1.1, nonsense"], ["127.0.0.1"], "127.0.0.1", id="nor does nonsense hide behind it"
        ),
        pytest.param("127.0.0.1", ["127.0.0.1"], ["127.0.0.1"], "127.0.0.1", id="nothing but proxies"),
        pytest.param("::1", ["1.1.1.1"], ["::1"], "1.1.1.1", id="a proxy by IPv6"),
        pytest.param("::ffff:127.0.0.1", ["1.1.1.1"], ["127.0.0.1"], "1.1.1.1", id="IPv4 spelt as IPv6"),
    ],
)
def test_a_client_is_counted_by(remote: str, forwarded: list[str], trusted: list[str], counts: str) -> None:
    assert client(remote, forwarded, trusted=trusted) == counts


def test_a_customer_of_ipv6_is_one_client_with_all_its_addresses() -> None:
    assert counted("2001:db8:1:2::1") == counted("2001:db8:1:2:aaaa::9") != counted("2001:db8:1:3::1")
    assert counted("::ffff:1.2.3.4") == "1.2.3.4"


@pytest.mark.parametrize("proxy", ["proxy.example.org", "", "300.1.1.1", "10.0.0.0/99"])
def test_what_is_no_address_is_refused_at_the_start(proxy: str) -> None:
    with pytest.raises(HubError, match="--trusted-proxy .* is no address"):
        trusted_networks([proxy])

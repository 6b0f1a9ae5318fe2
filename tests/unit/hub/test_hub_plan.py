"""What keeps a hub from starting is said before anything is started."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rgym_exp.base.ports import free_port
from rgym_exp.config.paths import Home
from rgym_exp.errors import HubError
from rgym_exp.hub.hub_plan import HubOptions, planned
from rgym_exp.hub.hub_record import HubRecord, save_record


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def options(**chosen: Any) -> HubOptions:
    return HubOptions(**{"port": free_port(), "p2p_port": free_port(), **chosen})


@pytest.mark.parametrize("option", ["port", "p2p_port", "rpc_port"])
def test_a_taken_port_is_named_with_the_option_that_moves_it(home: Home, taken_port: int, option: str) -> None:
    flag = "--" + option.replace("_", "-")
    with (
        pytest.raises(HubError, match=rf"Port {taken_port} on 127.0.0.1.*`{flag} PORT`"),
        planned(home, options(**{option: taken_port})),
    ):
        raise AssertionError("the port is taken")


def test_two_hubs_cannot_share_a_home(home: Home) -> None:
    with (
        planned(home, options()),
        pytest.raises(HubError, match="Another hub already runs.*--home DIR"),
        planned(home, options()),
    ):
        raise AssertionError("the home is taken")
    with planned(home, options()) as plan:
        assert plan.home == home


def test_a_restarted_hub_keeps_what_it_was_unless_told_otherwise(home: Home) -> None:
    record = HubRecord(
        swarm_id="swarm-1", tasks="starter", model_name="m", port=free_port(), p2p_port=free_port(), contract="0xab"
    )
    save_record(home.hub / "hub.json", record)
    with planned(home, HubOptions()) as plan:
        assert plan.record == record
    with planned(home, HubOptions(model_name="another")) as plan:
        assert (plan.record.model_name, plan.record.swarm_id, plan.record.contract) == ("another", "swarm-1", "0xab")


def test_on_another_chain_the_old_contract_is_not_looked_for(home: Home) -> None:
    record = HubRecord(
        swarm_id="swarm-1", tasks="starter", model_name="m", port=free_port(), p2p_port=free_port(), contract="0xab"
    )
    save_record(home.hub / "hub.json", record)
    with planned(home, HubOptions(rpc_url="http://192.0.2.1:1")) as plan:
        assert plan.record.contract is None
    with planned(home, HubOptions(rpc_url="http://192.0.2.1:1", contract="0xcd")) as plan:
        assert plan.record.contract == "0xcd"


def test_tasks_that_joiners_do_not_have_are_refused(home: Home) -> None:
    with pytest.raises(HubError, match="--tasks nonsense is none of"), planned(home, options(tasks="nonsense")):
        raise AssertionError("there are no such tasks")


def test_behind_a_reverse_proxy_invites_name_its_address_and_the_bootnode_its_host(home: Home) -> None:
    chosen = options(public_url="https://swarm.example.org/", trusted_proxies=("127.0.0.1",))
    with planned(home, chosen) as plan:
        assert (plan.hub_url, plan.public_host) == ("https://swarm.example.org", "swarm.example.org")
        assert [str(network) for network in plan.trusted_proxies] == ["127.0.0.1/32"]
    with planned(home, options(public_url="https://x.org:8443/swarm", public_host="p2p.x.org")) as plan:
        assert (plan.hub_url, plan.public_host) == ("https://x.org:8443/swarm", "p2p.x.org")


@pytest.mark.parametrize(
    "url", ["swarm.example.org", "ftp://x.org", "https://", "https://a:b@x.org", "https://x.org?a=1", "https://x.org#a"]
)
def test_what_no_joiner_could_reach_is_no_public_url(home: Home, url: str) -> None:
    with pytest.raises(HubError, match="--public-url .* is no address"), planned(home, options(public_url=url)):
        raise AssertionError("no joiner could reach it")


def test_a_proxy_that_is_no_address_is_named(home: Home) -> None:
    with (
        pytest.raises(HubError, match="--trusted-proxy proxy.local is no address"),
        planned(home, options(trusted_proxies=("proxy.local",))),
    ):
        raise AssertionError("it is no address")

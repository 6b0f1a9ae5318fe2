"""Where a node listens."""

from __future__ import annotations

from rgym_exp.node.rooms import listen_host

HERE = "/ip4/127.0.0.1/tcp/38600/p2p/QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ"
ELSEWHERE = "/ip4/203.0.113.5/tcp/38600/p2p/QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ"


def test_a_swarm_on_this_machine_is_not_reachable_from_others() -> None:
    assert listen_host("auto", [HERE]) == "127.0.0.1"
    assert listen_host("auto", []) == "127.0.0.1"


def test_in_a_swarm_with_a_bootnode_elsewhere_others_must_reach_us() -> None:
    assert listen_host("auto", [HERE, ELSEWHERE]) == "0.0.0.0"


def test_what_is_configured_is_kept() -> None:
    assert listen_host("127.0.0.1", [ELSEWHERE]) == "127.0.0.1"
    assert listen_host("192.168.1.7", [HERE]) == "192.168.1.7"

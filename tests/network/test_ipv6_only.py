"""A swarm where nobody has an IPv4 address."""

from __future__ import annotations

import pytest

from tests.network.conftest import MakeSwarm
from tests.support.light_swarm import ways_of

pytestmark = [pytest.mark.network, pytest.mark.timeout(300)]


def test_joiners_of_an_ipv6_bootnode_hear_each_other_directly(make_swarm: MakeSwarm) -> None:
    swarm = make_swarm(homes=2, ipv6=True)
    swarm.start_peers(swarm.lab.homes)
    for peer, rounds in zip(swarm.peers, swarm.play(6, longest_seconds=60), strict=True):
        assert all(each.heard for each in rounds[2:])
        assert ways_of(rounds[4:]).keys() == {"direct"}
        assert "Others can reach this node directly, at 2a01:7e00::" in peer.said()

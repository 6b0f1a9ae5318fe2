"""Two homes, each behind a router that lets nothing in: most people are in this case."""

from __future__ import annotations

import time

import pytest

from tests.network.conftest import MakeSwarm
from tests.support.light_swarm import common_rounds, heard_share, ways_of
from tests.support.network_lab import Link

pytestmark = [pytest.mark.network, pytest.mark.timeout(300)]

USUAL = 1_000
"""Characters of a completion that make a share of 24 KB, more than twice that of the default settings."""
LARGE = 11_000
"""The same for 256 KiB of random text: more than libp2p's own relay passes on."""


def test_two_homes_hear_each_other_and_again_within_half_a_minute_of_a_restarted_hub(make_swarm: MakeSwarm) -> None:
    swarm = make_swarm(homes=2)
    swarm.start_peers(swarm.lab.homes, chars=LARGE)
    for rounds in common_rounds(swarm.play(11, longest_seconds=90)):
        assert heard_share(rounds) >= 0.9
        assert ways_of(rounds).keys() == {"bootnode"}
    for peer in swarm.peers:
        assert "Others can't reach this node directly" in peer.said()

    swarm.kill_bootnode()
    swarm.play(1, longest_seconds=30)  # a round without it
    swarm.start_bootnode()
    back = time.time()
    first_heard: dict[int, float] = {}
    while len(first_heard) < len(swarm.peers):
        assert time.time() - back < 60, swarm.peers[0].said()[-3000:]
        for number, rounds in enumerate(swarm.play(1, longest_seconds=30)):
            if rounds[0].heard and rounds[0].began > back:
                first_heard.setdefault(number, rounds[0].began - back)
    assert max(first_heard.values()) < 30


def test_a_slow_line_that_loses_packets_is_no_obstacle(make_swarm: MakeSwarm) -> None:
    # 200 ms to the hub and back, 400 between homes. TCP makes little of such a line: about 60 KB a second.
    swarm = make_swarm(homes=2, link=Link(delay_ms=100, loss_percent=2))
    swarm.start_peers(swarm.lab.homes, chars=USUAL, round_seconds=5)
    for rounds in swarm.play(7, longest_seconds=120):
        # The first two rounds may pass while connections are made and the first direct dial fails.
        assert heard_share(rounds[2:]) >= 0.8


def test_homes_with_a_forwarded_port_are_reached_directly_and_know_it(make_swarm: MakeSwarm) -> None:
    swarm = make_swarm(homes=2, forwarded_port=38400)
    swarm.start_peers(swarm.lab.homes, port=38400)
    played = swarm.play(5, longest_seconds=60)
    for peer, rounds in zip(swarm.peers, played, strict=True):
        assert ways_of(rounds[3:]).keys() == {"direct"}
        assert "Others can reach this node directly, at 45.33.0.1" in peer.said()


def test_with_four_bootnodes_a_hole_is_punched_where_libp2p_finds_a_way_and_shares_come_anyhow(
    make_swarm: MakeSwarm,
) -> None:
    # libp2p believes in its own address from outside when four others named it, and punches holes only then.
    swarm = make_swarm(homes=2, publics=4)
    swarm.start_peers(swarm.lab.homes)
    heard = []
    for _ in range(30):
        last = [rounds[0] for rounds in swarm.play(1, longest_seconds=60)]
        if all(ways_of([each]).keys() == {"direct"} for each in last):
            return
        heard += last
    assert heard_share(heard) >= 0.9
    pytest.xfail("In 30 rounds libp2p punched no hole, as in some runs; the shares came through the bootnodes.")

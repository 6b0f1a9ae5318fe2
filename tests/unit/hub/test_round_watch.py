"""What the keeper reads of a round in a large swarm, and when that is enough to end it."""

from __future__ import annotations

import pytest

from rgym_exp.hub.round_watch import RoundWatch
from rgym_exp.swarm.pace import ActivePeer
from rgym_exp.swarm.shards import Slice

ROUND, LEVEL = 9, 5
PEERS = {f"peer {number}": ActivePeer(weight=20, is_awaited=True) for number in range(1000)}


def watch(level: int = LEVEL, active: dict[str, ActivePeer] = PEERS, origin: int = 4711) -> RoundWatch:
    return RoundWatch(round=ROUND, active=active, level=level, origin=origin)


def within(parts: list[Slice], peers: set[str]) -> set[str]:
    """What reading these parts shows of those who announced."""
    return {peer for peer in peers if any(part.covers(peer, ROUND) for part in parts)}


def test_a_small_swarm_is_read_whole_at_every_look() -> None:
    assert watch(level=2).parts(set())[0].bits == 0


def test_a_look_at_a_large_swarm_reads_a_sample_of_about_128_peers() -> None:
    (sample,) = watch().parts(set())
    assert sample.bits == LEVEL - 2
    assert 100 < len(within([sample], set(PEERS))) < 160


def test_the_sample_tells_when_half_of_the_swarm_has_announced() -> None:
    round = watch()
    parts = round.parts(set())
    third = {peer for number, peer in enumerate(PEERS) if number % 3 == 0}
    assert not round.is_over(elapsed=6.0, announced=within(parts, third), everybody=False)
    most = {peer for number, peer in enumerate(PEERS) if number % 3}
    round.is_over(elapsed=8.0, announced=within(parts, most), everybody=False)
    assert not round.is_over(elapsed=11.9, announced=within(parts, most), everybody=False)
    assert round.is_over(elapsed=12.0, announced=within(parts, most), everybody=False)


def test_those_missing_outside_the_sample_are_looked_for_in_their_own_shards() -> None:
    round = watch()
    (sample,) = round.parts(set())
    missing = next(peer for peer in PEERS if not sample.covers(peer, ROUND))
    here = PEERS.keys() - {missing}
    assert round.is_over(elapsed=8.0, announced=within([sample], here), everybody=False)
    assert not round.is_over(elapsed=8.0, announced=here, everybody=True)
    (part,) = round.parts(here)
    assert part.bits == LEVEL and part.covers(missing, ROUND)
    assert round.is_over(elapsed=8.5, announced=set(PEERS), everybody=False)


def test_a_peer_that_takes_its_leave_is_not_waited_for() -> None:
    round = watch(level=0, active={"a": PEERS["peer 0"], "b": PEERS["peer 0"]})
    assert not round.is_over(elapsed=8.0, announced={"a"}, everybody=True)
    round.left({"b", "stranger"})
    assert round.is_over(elapsed=8.5, announced={"a"}, everybody=True)


SHRUNK = {f"peer {number}": PEERS[f"peer {number}"] for number in range(20)}
"""Those left of a swarm that was large enough a moment ago for level 6."""


@pytest.mark.parametrize("origin", range(16))  # every sample of level 6, some of them without any of the 20
def test_a_swarm_that_shrank_ends_its_round_when_all_are_there(origin: int) -> None:
    round = watch(level=6, active=SHRUNK, origin=origin)
    parts = round.parts(set())
    here = within(parts, set(SHRUNK))
    assert round.is_over(elapsed=8.0, announced=here, everybody=round.sees_everybody(parts))


@pytest.mark.parametrize("origin", range(16))
def test_a_stranger_alone_is_no_half_of_a_swarm_that_shrank(origin: int) -> None:
    round = watch(level=6, active=SHRUNK, origin=origin)
    stranger = next(name for name in map(str, range(1000)) if Slice(origin=origin, bits=4).covers(name, ROUND))
    round.is_over(elapsed=0.5, announced={stranger}, everybody=True)
    assert not round.is_over(elapsed=60.0, announced={stranger}, everybody=True)


def test_a_stranger_alone_is_no_half_when_those_of_the_sample_take_their_leave() -> None:
    round = watch()
    (sample,) = round.parts(set())
    round.left(within([sample], set(PEERS)))
    stranger = next(name for name in map(str, range(1000)) if sample.covers(name, ROUND))
    round.is_over(elapsed=0.5, announced={stranger}, everybody=True)
    assert not round.is_over(elapsed=60.0, announced={stranger}, everybody=True)

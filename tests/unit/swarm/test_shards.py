"""Under which key announcements are published, and how the number of shards follows the swarm's size."""

from __future__ import annotations

from collections import Counter

import pytest

from rgym_exp.aliases import DHT_KEY_PREFIX
from rgym_exp.swarm.shards import EVERYBODY, MAX_LEVEL, Shard, Slice, SwarmSize, record_key, shard_of


@pytest.mark.parametrize(
    ("peers", "level"), [(1, 0), (32, 0), (33, 1), (64, 1), (65, 2), (1000, 5), (10**9, MAX_LEVEL)]
)
def test_the_level_gives_about_32_peers_a_shard(peers: int, level: int) -> None:
    size = SwarmSize()
    size.observe({Shard(0, 0, 0): peers})
    assert size.level == level


def test_the_level_is_unknown_while_nobody_was_found() -> None:
    size = SwarmSize()
    size.observe({Shard(0, 0, 0): 0})
    assert size.level is None
    assert size.peers == 0


def test_the_estimate_scales_the_shards_read_to_all_shards() -> None:
    size = SwarmSize()
    size.observe({Shard(0, 3, 1): 25, Shard(0, 3, 6): 35})
    assert size.peers == (25 + 35) / 2 * 2**3


def test_peers_that_write_at_different_levels_are_counted_together() -> None:
    size = SwarmSize()
    size.observe({Shard(0, 0, 0): 20, Shard(0, 1, 1): 15})
    assert size.peers == 20 + 2 * 15
    assert size.inhabited == [0, 1]


def test_a_round_still_under_way_does_not_shrink_the_estimate() -> None:
    size = SwarmSize()
    size.observe({Shard(7, 2, 3): 30})
    size.observe({Shard(8, 2, 0): 1})
    assert size.peers == 120
    assert size.level == 2


def test_a_swarm_that_shrank_is_noticed_after_three_rounds() -> None:
    size = SwarmSize()
    size.observe({Shard(0, 2, 0): 30})
    for round_number in (1, 2, 3):
        size.observe({Shard(round_number, 2, 1): 2})
    assert size.peers == 8
    assert size.level == 0


def test_rounds_without_anybody_do_not_make_a_known_swarm_smaller() -> None:
    """While the hub is away, peers look into many places where perhaps nobody is."""
    size = SwarmSize()
    size.observe({Shard(7, 2, 3): 30})
    size.observe({Shard(round_number, 2, 0): 0 for round_number in range(8, 24)})
    assert size.peers == 120
    assert size.inhabited == [2]


def test_a_swarm_that_hovers_at_a_boundary_does_not_flap() -> None:
    size = SwarmSize()
    levels = []
    for round_number, peers in enumerate([60, 70, 62, 75, 66, 58, 68]):
        size.observe({Shard(round_number, 1, 0): peers // 2, Shard(round_number, 1, 1): peers - peers // 2})
        levels.append(size.level)
    assert levels == [1] * 7


def test_every_peer_has_one_shard_and_shards_fill_evenly() -> None:
    counts = Counter(shard_of(f"peer {number}", 5, 4) for number in range(16 * 200))
    assert set(counts) == set(range(16))
    assert max(counts.values()) < 2 * min(counts.values())


def test_a_peers_shard_changes_from_round_to_round() -> None:
    assert len({shard_of("peer", round_number, 10) for round_number in range(20)}) > 10


def test_rounds_after_a_chain_was_set_back_are_what_counts() -> None:
    size = SwarmSize()
    for round_number in (100, 101, 102, 40, 41, 42):
        size.observe({Shard(round_number, 0, 0): 20 if round_number > 50 else 3})
    assert size.peers == 3


@pytest.mark.parametrize("level", [0, 2, 3, 4, 6])
def test_a_slice_is_the_same_peers_at_whatever_level_they_write(level: int) -> None:
    part = Slice(origin=0b1011_0110, bits=3)
    for peer in (f"peer {number}" for number in range(200)):
        if part.covers(peer, 5):
            assert Shard(5, level, shard_of(peer, 5, level)) in part.shards(5, level)


def test_a_slice_of_some_bits_is_that_part_of_the_peers_and_reads_that_part_of_the_shards() -> None:
    part = Slice(origin=77, bits=3)
    covered = sum(part.covers(f"peer {number}", 5) for number in range(8000))
    assert abs(covered - 1000) < 150  # standard deviation 30
    assert [len(part.shards(5, level)) for level in (0, 3, 5)] == [1, 1, 4]
    assert len(EVERYBODY.shards(5, 5)) == 32


def test_one_bit_less_takes_in_the_former_slice() -> None:
    narrow, wide = Slice(origin=77, bits=4), Slice(origin=77, bits=3)
    peers = [f"peer {number}" for number in range(500)]
    assert {peer for peer in peers if narrow.covers(peer, 5)} < {peer for peer in peers if wide.covers(peer, 5)}


def test_keys_are_spelt_as_in_the_version_before_so_that_both_meet() -> None:
    assert record_key("swarm", 3, 2, 1) == f"{DHT_KEY_PREFIX}\nswarm\n3\n2\n1"

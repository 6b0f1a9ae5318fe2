"""Under which key announcements are published, and how the number of shards follows the swarm's size."""

from __future__ import annotations

from collections import Counter

import pytest

from rgym_exp.aliases import DHT_KEY_PREFIX
from rgym_exp.swarm.shards import MAX_LEVEL, SwarmSize, levels_to_read, record_key, shard_of


@pytest.mark.parametrize(
    ("peers", "level"), [(1, 0), (32, 0), (33, 1), (64, 1), (65, 2), (1000, 5), (10**9, MAX_LEVEL)]
)
def test_the_level_gives_about_32_peers_a_shard(peers: int, level: int) -> None:
    size = SwarmSize()
    size.observe(0, level=0, shards_read=1, found=peers)
    assert size.level == level


def test_the_level_is_unknown_while_nobody_was_found() -> None:
    size = SwarmSize()
    size.observe(0, level=0, shards_read=1, found=0)
    assert size.level is None
    assert size.peers == 0


def test_the_estimate_scales_the_shards_read_to_all_shards() -> None:
    size = SwarmSize()
    size.observe(0, level=3, shards_read=2, found=60)
    assert size.peers == 60 / 2 * 2**3


def test_peers_that_write_at_different_levels_are_counted_together() -> None:
    size = SwarmSize()
    size.observe(0, level=0, shards_read=1, found=20)
    size.observe(0, level=1, shards_read=1, found=15)
    assert size.peers == 20 + 2 * 15


def test_a_round_still_under_way_does_not_shrink_the_estimate() -> None:
    size = SwarmSize()
    size.observe(7, level=2, shards_read=1, found=30)
    size.observe(8, level=2, shards_read=1, found=1)
    assert size.peers == 120
    assert size.level == 2


def test_a_swarm_that_shrank_is_noticed_after_three_rounds() -> None:
    size = SwarmSize()
    size.observe(0, level=2, shards_read=1, found=30)
    for round_number in (1, 2, 3):
        size.observe(round_number, level=2, shards_read=1, found=2)
    assert size.peers == 8
    assert size.level == 0


def test_a_swarm_that_hovers_at_a_boundary_does_not_flap() -> None:
    size = SwarmSize()
    levels = []
    for round_number, peers in enumerate([60, 70, 62, 75, 66, 58, 68]):
        size.observe(round_number, level=1, shards_read=2, found=peers)
        levels.append(size.level)
    assert levels == [1] * 7


def test_every_peer_has_one_shard_and_shards_fill_evenly() -> None:
    counts = Counter(shard_of(f"peer {number}", 5, 4) for number in range(16 * 200))
    assert set(counts) == set(range(16))
    assert max(counts.values()) < 2 * min(counts.values())


def test_a_peers_shard_changes_from_round_to_round() -> None:
    assert len({shard_of("peer", round_number, 10) for round_number in range(20)}) > 10


def test_readers_look_one_level_up_and_down() -> None:
    assert levels_to_read(3, wide=True) == [3, 2, 4]
    assert levels_to_read(0, wide=True) == [0, 1]
    assert levels_to_read(3, wide=False) == [3]


def test_a_reader_who_knows_nothing_looks_at_every_level() -> None:
    assert levels_to_read(None, wide=True) == list(range(MAX_LEVEL + 1))


def test_keys_are_spelt_as_in_the_version_before_so_that_both_meet() -> None:
    assert record_key("swarm", 3, 2, 1) == f"{DHT_KEY_PREFIX}\nswarm\n3\n2\n1"

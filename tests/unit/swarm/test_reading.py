"""Finding a round's announcements at whatever level their authors wrote them, and at what cost."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from rgym_exp.swarm.reading import RecordReader
from rgym_exp.swarm.shards import MAX_LEVEL, Shard, Slice, shard_of
from rgym_exp.types import Announcement
from tests.unit.swarm.swarm_builders import make_announcement


class Shelves:
    """A ``ShardStore`` in memory."""

    def __init__(self) -> None:
        self.held: dict[Shard, list[Announcement]] = {}
        self.reads: list[Shard] = []

    def write(self, group: str, peers: int, *, round: int, level: int) -> set[str]:
        names = {f"{group}{number}" for number in range(peers)}
        for name in names:
            self.held.setdefault(Shard(round, level, shard_of(name, round, level)), []).append(
                make_announcement(name, round)
            )
        return names

    async def get(self, shards: Sequence[Shard], *, thorough: bool) -> dict[Shard, list[Announcement]]:
        self.reads.extend(shards)
        return {shard: self.held[shard] for shard in shards if shard in self.held}


def names_of(found: Sequence[Announcement]) -> set[str]:
    return {announcement.peer_id for announcement in found}


@pytest.mark.parametrize("level", [0, 2, 3, 5, 6])
async def test_a_reader_who_knows_nothing_finds_a_swarm_at_any_level(level: int) -> None:
    shelves = Shelves()
    swarm = shelves.write("p", 32 << level, round=4, level=level)
    reader = RecordReader(shelves, random.Random(0))
    await reader.survey(4)
    assert reader.size.inhabited == [level]
    assert names_of(await reader.read(4)) == swarm


async def test_two_groups_two_levels_apart_find_each_other() -> None:
    shelves = Shelves()
    reader = RecordReader(shelves, random.Random(0))
    small = shelves.write("small", 20, round=0, level=0)
    assert names_of(await reader.read(0)) == small
    for round in range(1, 5):  # no survey but every fourth looks two levels up
        small = shelves.write("small", 20, round=round, level=0)
        large = shelves.write("large", 100, round=round, level=2)
        await reader.survey(round)
    assert names_of(await reader.read(4)) == small | large
    assert reader.size.level in (2, 3)


async def test_a_sample_of_one_shards_peers_costs_as_many_reads_in_a_swarm_of_any_size() -> None:
    costs = []
    for level in (3, 6):
        shelves = Shelves()
        shelves.write("p", 30 << level, round=4, level=level)
        reader = RecordReader(shelves, random.Random(0))
        await reader.survey(4, sweep=True)
        shelves.reads.clear()
        found = await reader.read(4, Slice(origin=12345, bits=level))
        assert 15 < len(found) < 45
        costs.append(len(shelves.reads))
    assert max(costs) <= 3  # its own level's, and two where the swarm's size was taken for twice as large


async def test_whoever_writes_at_a_low_level_is_in_a_sample_no_more_often_than_others() -> None:
    shelves = Shelves()
    shelves.write("p", 30 << 4, round=4, level=4)
    shelves.write("low", 16, round=4, level=0)
    reader = RecordReader(shelves, random.Random(0))
    await reader.survey(4, sweep=True)
    samples = [names_of(await reader.read(4, Slice(origin=origin, bits=4))) for origin in range(16)]
    assert sum(name.startswith("low") for sample in samples for name in sample) == 16  # each in one of sixteen


async def test_a_few_announcements_far_up_do_not_make_everybody_read_thousands_of_shards() -> None:
    shelves = Shelves()
    shelves.write("p", 20, round=4, level=0)
    for number in range(1 << MAX_LEVEL):  # whichever shard is looked at, there is one
        shelves.held[Shard(4, MAX_LEVEL, number)] = [make_announcement("stray", 4)]
    reader = RecordReader(shelves, random.Random(0))
    nowhere_else = {Shard(4, MAX_LEVEL, number): int(number == 1) for number in range(2000)}
    reader.size.observe({Shard(4, 0, 0): 20, **nowhere_else})
    shelves.reads.clear()
    await reader.read(4)
    assert len(shelves.reads) < 10


async def test_most_surveys_look_at_the_neighbouring_levels_only() -> None:
    shelves = Shelves()
    reader = RecordReader(shelves, random.Random(0))
    costs = []
    for round in range(8):
        shelves.write("p", 100, round=round, level=2)
        shelves.reads.clear()
        await reader.survey(round)
        costs.append(len(shelves.reads))
    assert costs == [13, 3, 3, 3, 13, 3, 3, 3]

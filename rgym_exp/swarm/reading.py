"""Reading the announcements of a round, wherever their authors chose to write them.

Knows levels and shards and nothing of the network: a ``ShardStore`` (the DHT, or one in memory) hands out shards.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Protocol

from rgym_exp.swarm.shards import EVERYBODY, MAX_LEVEL, Shard, Slice, SwarmSize
from rgym_exp.types import Announcement

_SWEEP_EVERY = 4
"""Every so many surveys look at all levels: a group of peers two levels away is found within so many rounds."""


class ShardStore(Protocol):
    """Where the shards are: ``DhtRecords``, or a dictionary in tests and simulations."""

    async def get(self, shards: Sequence[Shard], *, thorough: bool) -> Mapping[Shard, Sequence[Announcement]]:
        """The verified announcements in these shards; one that is empty or can't be read may be left out.

        ``thorough`` asks more of those who keep a shard, any of whom may lack the newest announcements.
        """
        ...


class RoundRecords(Protocol):
    """What a gathering needs of the DHT (``DhtRecords`` has it)."""

    @property
    def level(self) -> int:
        """The level at which the swarm writes; 0 while it is small or unknown."""
        ...

    async def read(self, round: int, *parts: Slice, thorough: bool = True) -> list[Announcement]:
        """The announcements listed under a round by the peers in ``parts``; by everybody, without any."""
        ...

    async def survey(self, round: int) -> list[Announcement]:
        """A sample of the announcements of a round that is over."""
        ...


class RecordReader:
    """Reads rounds out of a ``ShardStore``, at the levels at which the swarm writes, and follows the swarm's size."""

    def __init__(self, store: ShardStore, rng: random.Random) -> None:
        self.size = SwarmSize()
        self._store = store
        self._rng = rng
        self._surveys = 0

    async def read(self, round: int, *parts: Slice, thorough: bool = True) -> list[Announcement]:
        """The announcements listed under a round by the peers in ``parts``, at every level where somebody writes.

        Without parts: everybody's.
        """
        parts = parts or (EVERYBODY,)
        if self.size.level is None:
            # Nobody was met yet: first find out where to look. Whoever is found by this may be all there is.
            await self._read(self._one_of_each(round, range(MAX_LEVEL + 1)), thorough=thorough)
        places = [(level, part) for level in self._levels() for part in parts]
        shards = dict.fromkeys(shard for level, part in places for shard in self._shards_at(round, level, part))
        found = await self._read(list(shards), thorough=thorough)
        return [one for one in found if any(part.covers(one.peer_id, round) for part in parts)]

    async def survey(self, round: int, *, sweep: bool = False) -> list[Announcement]:
        """A glance at a round that is over, one random shard of each level: who is there, and where they write.

        Neighbouring levels at most times; all of them with ``sweep``, while nobody is known, and now and then.
        """
        is_full = sweep or self.size.level is None or self._surveys % _SWEEP_EVERY == 0
        self._surveys += 1
        near = {near for level in self._levels() for near in (level - 1, level, level + 1) if 0 <= near <= MAX_LEVEL}
        return await self._read(
            self._one_of_each(round, range(MAX_LEVEL + 1) if is_full else sorted(near)), thorough=True
        )

    def _levels(self) -> list[int]:
        return sorted({*self.size.inhabited, self.size.level or 0})

    def _one_of_each(self, round: int, levels: Sequence[int]) -> list[Shard]:
        return [Shard(round, level, self._rng.randrange(1 << level)) for level in levels]

    def _shards_at(self, round: int, level: int, part: Slice) -> list[Shard]:
        shards = part.shards(round, level)
        # Levels far above ours have many shards and, as far as we know, few peers: without a bound, a handful of
        # announcements up there would cost every reader thousands of reads.
        most = max(1, (2 << (self.size.level or 0)) >> part.bits)
        return shards if len(shards) <= most else self._rng.sample(shards, most)

    async def _read(self, shards: Sequence[Shard], *, thorough: bool) -> list[Announcement]:
        held = await self._store.get(shards, thorough=thorough)
        found: dict[str, Announcement] = {}
        for here in held.values():
            found.update({announcement.peer_id: announcement for announcement in here})
        self.size.observe({shard: len(held.get(shard, ())) for shard in shards})
        return list(found.values())

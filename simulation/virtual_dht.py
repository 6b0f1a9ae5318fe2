"""A DHT in virtual time: the shards of all rounds in one dictionary, with the waits that a network would cost."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence

from rgym_exp.swarm.reading import RecordReader
from rgym_exp.swarm.shards import Shard, Slice, SwarmSize, shard_of
from rgym_exp.types import Announcement, contract_round

PUBLISH_SECONDS = 0.5
READ_SECONDS = 0.1
_MOST_PEERS_A_SHARD = 1024
"""As the validator's: who comes later to a full shard is not stored."""
_ROUNDS_KEPT = 64


class VirtualDht:
    """A ``ShardStore``. Counts how many shards were read and how many announcements that handed out."""

    def __init__(self) -> None:
        self._rounds: dict[int, dict[Shard, dict[str, Announcement]]] = defaultdict(lambda: defaultdict(dict))

    def put(self, announcement: Announcement, level: int) -> None:
        """Store an announcement at the level that its author chose."""
        shard = Shard(announcement.listed, level, shard_of(announcement.peer_id, announcement.listed, level))
        here = self._rounds[announcement.listed][shard]
        if len(here) < _MOST_PEERS_A_SHARD or announcement.peer_id in here:
            here[announcement.peer_id] = announcement
        oldest = contract_round(announcement.listed) - _ROUNDS_KEPT
        for old in [number for number in self._rounds if contract_round(number) < oldest]:
            del self._rounds[old]

    async def get(self, shards: Sequence[Shard], *, thorough: bool) -> dict[Shard, list[Announcement]]:
        """See ``ShardStore``; every announcement that was put is there for everyone."""
        await asyncio.sleep(READ_SECONDS)
        held = {shard: self._rounds[shard.round].get(shard) for shard in shards if shard.round in self._rounds}
        return {shard: list(here.values()) for shard, here in held.items() if here}


class VirtualRecords:
    """What one peer or hub has of the DHT: ``DhtRecords`` without a network."""

    def __init__(self, dht: VirtualDht, rng: random.Random) -> None:
        self.shards_read = 0
        self.announcements_read = 0
        self._dht = dht
        self._reader = RecordReader(self, rng)

    @property
    def size(self) -> SwarmSize:
        """See ``DhtRecords``."""
        return self._reader.size

    @property
    def level(self) -> int:
        """See ``DhtRecords``."""
        return self.size.level or 0

    def set_round(self, round_number: int) -> None:
        """There are no records to refuse."""

    async def publish(self, announcement: Announcement) -> None:
        """See ``DhtRecords``."""
        level = self.level
        await asyncio.sleep(PUBLISH_SECONDS)
        self._dht.put(announcement, level)

    async def read(self, round: int, *parts: Slice, thorough: bool = True) -> list[Announcement]:
        """See ``RecordReader``."""
        return await self._reader.read(round, *parts, thorough=thorough)

    async def survey(self, round: int, *, sweep: bool = False) -> list[Announcement]:
        """See ``RecordReader``."""
        return await self._reader.survey(round, sweep=sweep)

    async def get(self, shards: Sequence[Shard], *, thorough: bool) -> dict[Shard, list[Announcement]]:
        """See ``ShardStore``; counts."""
        held = await self._dht.get(shards, thorough=thorough)
        self.shards_read += len(shards)
        self.announcements_read += sum(len(here) for here in held.values())
        return held

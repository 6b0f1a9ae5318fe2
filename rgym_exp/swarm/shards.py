"""An announcement's key in the DHT, chosen so that a round costs each peer the same in a swarm of any size.

A round's announcements are spread over 2^level shards of about ``PEERS_PER_SHARD`` peers. Which shard a peer writes to
is a hash of its id and the round, so that nobody can gather around one reader. The level follows the swarm's size as
each peer estimates it from earlier rounds, and estimates differ, so several levels may be inhabited at once. Shards of
different levels nest: they are the last bits of one hash. So a reader takes a ``Slice`` of the hashes, the same at
every level, and whoever writes at another level than most gains nothing by it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from rgym_exp.aliases import DHT_KEY_PREFIX

PEERS_PER_SHARD = 32
MAX_LEVEL = 12
_ROUNDS_REMEMBERED = 3


class Shard(NamedTuple):
    """One of the 2^level places in which a round's announcements are published."""

    round: int
    """The round under which they are listed."""
    level: int
    number: int
    """In [0, 2^level)."""


@lru_cache(maxsize=65_536)
def hash_of(peer_id: str, round_number: int) -> int:
    """The 64 bits that decide where ``peer_id`` writes in this round, whatever the level."""
    digest = hashlib.sha256(f"rl-swarm/shard/1\n{round_number}\n{peer_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def shard_of(peer_id: str, round_number: int, level: int) -> int:
    """The shard, in [0, 2^level), that ``peer_id`` writes to in this round."""
    return hash_of(peer_id, round_number) % (1 << level)


def record_key(swarm_id: str, round_number: int, level: int, shard: int) -> str:
    """The DHT key under which a shard's announcements are stored, one subkey a peer."""
    return f"{DHT_KEY_PREFIX}\n{swarm_id}\n{round_number}\n{level}\n{shard}"


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A sample of a round's peers: those whose hash ends in the same ``bits`` bits as ``origin``.

    The same origin with one bit less gives a sample twice as large, with the first one in it.
    """

    origin: int
    bits: int

    def covers(self, peer_id: str, round_number: int) -> bool:
        """Whether this peer belongs to the sample in this round."""
        return (hash_of(peer_id, round_number) ^ self.origin) % (1 << self.bits) == 0

    def shards(self, round_number: int, level: int) -> list[Shard]:
        """The shards of a level in which those peers can be found."""
        first = self.origin % (1 << min(level, self.bits))
        return [Shard(round_number, level, number) for number in range(first, 1 << level, 1 << min(level, self.bits))]


EVERYBODY = Slice(origin=0, bits=0)


class SwarmSize:
    """Estimate of how many peers announce in a round, and at which levels, from the shards read.

    A round still under way shows fewer announcements than it will have, so the estimate is the largest of the last
    few rounds rather than the newest.
    """

    def __init__(self) -> None:
        self._rounds: dict[int, dict[int, dict[int, int]]] = {}  # round -> level -> shard -> announcements in it
        self._level: int | None = None

    def observe(self, found: Mapping[Shard, int]) -> None:
        """Take in how many announcements each of these shards held.

        A round in which nothing was found says nothing against the rounds in which something was.
        """
        inhabited = {shard.round for shard, count in found.items() if count}
        for shard, count in found.items():
            if self._rounds and shard.round not in self._rounds and shard.round not in inhabited:
                continue
            # Rounds are forgotten in the order in which they were read, not by number: a chain can be set back.
            levels = self._rounds.pop(shard.round, {})
            self._rounds[shard.round] = levels
            shards = levels.setdefault(shard.level, {})
            shards[shard.number] = max(shards.get(shard.number, 0), count)
        for old in list(self._rounds)[:-_ROUNDS_REMEMBERED]:
            del self._rounds[old]
        self._follow()

    @property
    def peers(self) -> float:
        """Estimated number of peers; 0 while nothing was found."""
        return max((self._peers_in(levels) for levels in self._rounds.values()), default=0.0)

    @property
    def level(self) -> int | None:
        """The level to write at and to read first; None until somebody was found."""
        return self._level

    @property
    def inhabited(self) -> list[int]:
        """The levels at which somebody was found in the last rounds, lowest first."""
        levels = {level for levels in self._rounds.values() for level, shards in levels.items() if any(shards.values())}
        return sorted(levels)

    @staticmethod
    def _peers_in(levels: dict[int, dict[int, int]]) -> float:
        return sum(sum(shards.values()) / len(shards) * (1 << level) for level, shards in levels.items())

    def _follow(self) -> None:
        peers = self.peers
        if peers == 0:
            self._level = None
            return
        wanted = min(MAX_LEVEL, max(0, math.ceil(math.log2(peers / PEERS_PER_SHARD))))
        if self._level is None:
            self._level = wanted
            return
        # Half a level of slack on either side keeps peers near a boundary from flapping between two levels.
        shard_load = peers / (1 << self._level)
        if shard_load > 1.5 * PEERS_PER_SHARD or (wanted < self._level and shard_load < 0.4 * PEERS_PER_SHARD):
            self._level = wanted

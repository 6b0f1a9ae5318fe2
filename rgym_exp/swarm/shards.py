"""An announcement's key in the DHT, chosen so that a round costs each peer the same in a swarm of any size.

A round's announcements are spread over 2^level shards of about ``PEERS_PER_SHARD`` peers. Which shard a peer writes to
is a hash of its id and the round, so that nobody can gather around one reader. The level follows the swarm's size as
each peer estimates it from earlier rounds; estimates may differ by one level, so readers look one up and one down.
"""

from __future__ import annotations

import hashlib
import math

from rgym_exp.aliases import DHT_KEY_PREFIX

PEERS_PER_SHARD = 32
MAX_LEVEL = 12
_ROUNDS_REMEMBERED = 3


def shard_of(peer_id: str, round_number: int, level: int) -> int:
    """The shard, in [0, 2^level), that ``peer_id`` writes to in this round."""
    digest = hashlib.sha256(f"rl-swarm/shard/1\n{round_number}\n{peer_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (1 << level)


def record_key(swarm_id: str, round_number: int, level: int, shard: int) -> str:
    """The DHT key under which a shard's announcements are stored, one subkey a peer."""
    return f"{DHT_KEY_PREFIX}\n{swarm_id}\n{round_number}\n{level}\n{shard}"


class SwarmSize:
    """Estimate of how many peers announce in a round, from the shards read.

    A round still under way shows fewer announcements than it will have, so the estimate is the largest of the last
    few rounds rather than the newest.
    """

    def __init__(self) -> None:
        self._rounds: dict[int, dict[int, float]] = {}  # round -> level -> estimated peers at that level
        self._level: int | None = None

    def observe(self, round_number: int, *, level: int, shards_read: int, found: int) -> None:
        """Take in that ``shards_read`` of the round's 2^level shards held ``found`` announcements."""
        if shards_read == 0:
            return
        levels = self._rounds.setdefault(round_number, {})
        levels[level] = max(levels.get(level, 0.0), found / shards_read * (1 << level))
        for old in sorted(self._rounds)[:-_ROUNDS_REMEMBERED]:
            del self._rounds[old]
        self._follow()

    @property
    def peers(self) -> float:
        """Estimated number of peers; 0 while nothing was found."""
        return max((sum(levels.values()) for levels in self._rounds.values()), default=0.0)

    @property
    def level(self) -> int | None:
        """The level to write at and to read first; None until somebody was found."""
        return self._level

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


def levels_to_read(level: int | None, *, wide: bool) -> list[int]:
    """Which levels to read, in order: our own, then with ``wide`` its neighbours; all plausible ones while unknown."""
    if level is None:
        return list(range(MAX_LEVEL + 1)) if wide else [0]
    neighbours = [level - 1, level + 1] if wide else []
    return [level, *(near for near in neighbours if 0 <= near <= MAX_LEVEL)]

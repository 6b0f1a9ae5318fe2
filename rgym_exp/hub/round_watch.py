"""One round as the keeper watches it: which shards to read at each look, and whether it is over.

Reading everybody's announcements at every look would cost a hub megabytes a second in a swarm of a thousand. So a look
reads the shards of a sample of some 128 peers, which tells well enough when half of the swarm has announced. Everybody
is read when the sample's round is over; those who are still awaited elsewhere are then looked for in their own shards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rgym_exp.swarm.pace import ActivePeer, half_have_announced, is_over
from rgym_exp.swarm.shards import Slice, hash_of

_SAMPLE_BITS = 2
"""2^2 shards of about 32 peers are the sample: a half measured on it is a half of all within a few percent."""
_SMALLEST_SAMPLE = 32
"""With fewer active peers in it a sample is widened: the level follows the swarm's size late when a swarm shrinks."""
_LOOKED_FOR = 8
"""Most of the missing that are looked for at once, each in its own shard."""


class RoundWatch:
    """What the keeper has seen of one round."""

    def __init__(self, *, round: int, active: Mapping[str, ActivePeer], level: int, origin: int) -> None:
        """``origin`` chooses the sample: at random, so that nobody can take care to be in it."""
        self.active = dict(active)
        self._round = round
        self._level = level
        self._sample = Slice(origin=origin, bits=max(0, level - _SAMPLE_BITS))
        self._sampled: dict[str, ActivePeer] = {}
        self._take_sample()
        self._half_at: float | None = None
        self._has_read_everybody = False

    def parts(self, announced: Collection[str]) -> list[Slice]:
        """What to read at the next look; ``announced`` are those seen so far."""
        if self._has_read_everybody and self._sample.bits > 0:
            missing = [peer for peer, one in self.active.items() if one.is_awaited and peer not in announced]
            if missing:
                return [Slice(origin=hash_of(peer, self._round), bits=self._level) for peer in missing[:_LOOKED_FOR]]
        return [self._sample]

    def sees_everybody(self, parts: Collection[Slice]) -> bool:
        """Whether these parts are the whole swarm."""
        return any(part.bits == 0 for part in parts)

    def left(self, peers: Collection[str]) -> None:
        """These peers took their leave: they are neither waited for nor counted any more."""
        for peer_id in peers:
            self.active.pop(peer_id, None)
            self._sampled.pop(peer_id, None)
        self._take_sample()

    def is_over(self, *, elapsed: float, announced: Collection[str], everybody: bool) -> bool:
        """Whether the pace ends the round, ``elapsed`` seconds after it began, by the last look at it.

        ``everybody``: that look read all shards. Only such a one can end a round.
        """
        self._has_read_everybody |= everybody
        if self._half_at is None and half_have_announced(self._sampled, self._within(announced)):
            self._half_at = elapsed
        watched = self.active if self._has_read_everybody else self._sampled
        return is_over(elapsed=elapsed, half_at=self._half_at, active=watched, announced=announced)

    def _take_sample(self) -> None:
        """Choose the active peers to measure by: all of them, if that is what it takes to have enough."""
        sample = self._sample
        while True:
            self._sampled = {peer: one for peer, one in self.active.items() if sample.covers(peer, self._round)}
            if len(self._sampled) >= _SMALLEST_SAMPLE or sample.bits == 0:
                break
            sample = Slice(origin=sample.origin, bits=sample.bits - 1)
        self._sample = sample

    def _within(self, announced: Collection[str]) -> set[str]:
        return {peer for peer in announced if self._sample.covers(peer, self._round)}

"""The pace of a swarm of unequal peers: how long the slower ones are waited for.

A round is over when everybody who is waited for has announced. Failing that, it ends at ``SLACK`` times the moment at
which half of the active peers had announced, and ``GRACE_SECONDS`` more: so the middle of the swarm sets the pace, one
slow or dead peer costs the others little, and whoever is slower than that is heard late but not lost.

Identities are free, so both halves of the rule are earned. Half is counted by **weight**, the rounds that a peer has
attended: strangers who announce at once, or never, or under a new name each round, can't outvote those who were there
before them. And a peer is **awaited** only if it came in time lately, for longer the more rounds it has attended, up
to ``ROUNDS_TO_EARN``. Where nobody has attended anything yet (a new swarm, a restarted hub) all count the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

SLACK = 1.25
GRACE_SECONDS = 2.0
ROUNDS_TO_EARN = 8
"""Rounds attended after which a peer is waited for as long as any other."""


@dataclass(frozen=True, kw_only=True)
class ActivePeer:
    """A peer that takes part in the swarm, as the rule sees it."""

    weight: int
    """Rounds attended, at least 1."""
    is_awaited: bool
    """Whether it came in time lately. One that is always late has its weight in "half", but nobody waits for it."""


def half_have_announced(active: Mapping[str, ActivePeer], announced: Collection[str]) -> bool:
    """Whether those who announced hold half of the weight of all active peers. A newcomer that announced has none."""
    total = sum(peer.weight for peer in active.values())
    here = sum(peer.weight for peer_id, peer in active.items() if peer_id in announced)
    return bool(announced) and 2 * here >= total


def end_of_waiting(half_at: float) -> float:
    """When to go on without those who are missing, if half were there after ``half_at`` seconds of the round."""
    return SLACK * half_at + GRACE_SECONDS


def is_over(
    *, elapsed: float, half_at: float | None, active: Mapping[str, ActivePeer], announced: Collection[str]
) -> bool:
    """Whether nobody is waited for any more, ``elapsed`` seconds into the round.

    ``half_at`` is when half had announced, in seconds since the round began; None: they have not yet.
    """
    if half_at is None:
        return False
    most = min(ROUNDS_TO_EARN, max((peer.weight for peer in active.values()), default=1))
    longest = end_of_waiting(half_at) - half_at
    return all(
        elapsed >= half_at + _earned(peer.weight, most) * longest
        for peer_id, peer in active.items()
        if peer.is_awaited and peer_id not in announced
    )


def _earned(weight: int, most: int) -> float:
    """The part of the longest wait that a peer has earned, in [0, 1]."""
    return 1.0 if most <= 1 else min(1.0, (weight - 1) / (most - 1))

"""Under which round an announcement is published, so that others find it while they still look.

On time: under its own round. A share that comes late is published under the round that the swarm is at by then. Interim
rounds (played while the contract can't be asked) have no common pace, so all that follow one contract round share one
place, where each peer's newest share takes the place of the one before.
"""

from __future__ import annotations

from rgym_exp.types import contract_round, interim_count, interim_round

MAX_ROUNDS_LATE = 8
"""A share that is later than this is of no use to anybody."""


def place_of(round: int) -> int:
    """Where the on-time shares of a round are published and looked for."""
    return interim_round(contract_round(round), 1) if interim_count(round) else round


def places_before(place: int) -> range:
    """The places of the two rounds before the one at ``place``: where late shares and those seen too late are."""
    last = contract_round(place)
    # Before an interim round is the contract round that it follows; before a contract round the one before it.
    return range(max(0, last - 1), last + 1) if interim_count(place) else range(max(0, last - 2), last)


def places_beside(place: int) -> list[int]:
    """Where peers list their interim rounds to which the hub fell silent a little sooner or later than to us: not all
    heard of the same round last. None for a round of the contract."""
    if not interim_count(place):
        return []
    last = contract_round(place)
    near = range(max(0, last - MAX_ROUNDS_LATE), last + MAX_ROUNDS_LATE + 1)
    return [interim_round(round, 1) for round in near if round != last]


def listed_under(round: int, *, swarm_round: int) -> int:
    """Where a share of ``round`` is published when the swarm is at ``swarm_round``."""
    if interim_count(round) or interim_count(swarm_round):
        return place_of(round)
    return swarm_round if round < swarm_round <= round + MAX_ROUNDS_LATE else round


def is_listed_rightly(round: int, listed: int) -> bool:
    """Whether an announcement of ``round`` may be found under ``listed``."""
    if interim_count(round) or interim_count(listed):
        return listed == place_of(round) and interim_count(round) > 0
    return 0 <= listed - round <= MAX_ROUNDS_LATE

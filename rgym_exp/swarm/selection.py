"""Which of the external groups are trained on."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rgym_exp.types import Group


def select(candidates: Sequence[Group], *, count: int, per_peer: int, rng: random.Random) -> list[Group]:
    """Up to ``count`` groups with an advantage, uniform over peers, then over each peer's groups.

    Uniform over peers and not over groups, so that a peer gains nothing by sending more of them; at most ``per_peer``
    of one peer. Groups whose rewards are all equal are never selected. The outcome depends on ``rng`` and on which
    groups there are, not on the order in which they arrived.
    """
    by_peer: dict[str, list[Group]] = {}
    for group in sorted(candidates, key=lambda group: (group.peer_id, group.problem.slot)):
        if not group.is_zero_advantage:
            by_peer.setdefault(group.peer_id, []).append(group)
    for groups in by_peer.values():
        rng.shuffle(groups)
        del groups[max(0, per_peer) :]

    selected: list[Group] = []
    waiting = [peer for peer, groups in by_peer.items() if groups]
    while waiting and len(selected) < count:
        peer = waiting[rng.randrange(len(waiting))]
        selected.append(by_peer[peer].pop())
        if not by_peer[peer]:
            waiting.remove(peer)
    return selected

"""External groups: other peers' problems rebuilt from their slots, and their completions scored here."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rgym_exp.node.own_classes import OwnClassError
from rgym_exp.node.round_settings import RoundSettings
from rgym_exp.tasks.source import TaskSource
from rgym_exp.types import Completion, Group, Problem, ReceivedShare, Share, SharedGroup

logger = logging.getLogger("rl_swarm.node")

# For every group that may be chosen from a peer, so many are scored: some of them are zero-advantage groups.
_GROUPS_LOOKED_AT = 4

_Drawn = Sequence[tuple[Share, SharedGroup]]


@dataclass(frozen=True, kw_only=True)
class ExternalGroups:
    """What the shares of a round came to."""

    groups: tuple[Group, ...]
    unscored: int
    """Shares that were left out because a task source of somebody's own failed on them."""


def score_shares(
    received: Sequence[ReceivedShare], tasks: TaskSource, settings: RoundSettings, rng: random.Random
) -> ExternalGroups:
    """Rebuild external problems from their slots and score their completions, in one call to the sandbox.

    As many groups of every peer are looked at, in turns: no peer can use up the sandbox's time with a large share, or
    collect more votes by sending more.
    """
    looked_at = _GROUPS_LOOKED_AT * settings.groups_per_peer
    drawn: list[_Drawn] = [
        [(item.share, group) for group in rng.sample(item.share.groups, min(looked_at, len(item.share.groups)))]
        for item in received
    ]
    in_turns = [pair for turn in zip_longest(*drawn) for pair in turn if pair is not None]
    try:
        return ExternalGroups(groups=tuple(_scored(in_turns, tasks, settings)), unscored=0)
    except OwnClassError as error:
        # A stranger's text must not end this node, whatever a task source of somebody's own makes of it.
        logger.warning("%s Shares of others on which it does so are left out.", error)
    groups: list[Group] = []
    unscored = 0
    for of_one_peer in drawn:
        try:
            groups += _scored(of_one_peer, tasks, settings)
        except OwnClassError:
            unscored += 1
    return ExternalGroups(groups=tuple(groups), unscored=unscored)


def _scored(drawn: _Drawn, tasks: TaskSource, settings: RoundSettings) -> list[Group]:
    rebuilt: list[tuple[str, Problem, tuple[Completion, ...]]] = [
        (
            share.peer_id,
            tasks.problem(swarm_id=settings.swarm_id, round=share.round, peer_id=share.peer_id, slot=shared.slot),
            shared.completions,
        )
        for share, shared in drawn
    ]
    rewards = iter(tasks.score([(problem, c.text) for _, problem, completions in rebuilt for c in completions]))
    return [
        Group(
            peer_id=peer_id,
            problem=problem,
            completions=completions,
            rewards=tuple(next(rewards) for _ in completions),
        )
        for peer_id, problem, completions in rebuilt
    ]

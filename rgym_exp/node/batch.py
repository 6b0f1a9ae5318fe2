"""The batch of a round: local and external groups, always the same number of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rgym_exp.node.local_groups import LocalGroups, PhaseTimer
from rgym_exp.types import Group


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """What the optimizer step trains on."""

    groups: tuple[Group, ...]
    """local + external groups, in this order; the number never changes between rounds."""


def assemble(
    local: LocalGroups, external: Sequence[Group], *, local_groups: int, total: int, phases: PhaseTimer
) -> TrainingBatch:
    """Put ``total`` groups together: external ones as given, local ones for the rest.

    Local groups with an advantage come first. Where external groups are missing and no such group is left over, the
    next slots are drawn; zero-advantage groups fill what then remains, so that the shape stays the same.
    """
    places = total - len(external)
    useful = [group for group in local.groups if not group.is_zero_advantage]
    zero_advantage = [group for group in local.groups if group.is_zero_advantage]
    if len(useful) < places and places > local_groups and len(local.groups) < places:
        fresh = local.draw(places - len(local.groups), phases)
        useful += [group for group in fresh if not group.is_zero_advantage]
        zero_advantage += [group for group in fresh if group.is_zero_advantage]
    chosen = (useful + zero_advantage)[:places]
    # Fewer groups than places only where the bound on slots is smaller than the batch: repeat what there is.
    while len(chosen) < places:
        chosen.append(chosen[len(chosen) % max(len(local.groups), 1)])
    return TrainingBatch(groups=(*chosen, *external))

"""The batch of a round: own and foreign groups, always the same number of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rgym_exp.node.own import OwnDraws, PhaseTimer
from rgym_exp.types import Group


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """What the optimizer step trains on."""

    groups: tuple[Group, ...]
    """own + foreign groups, in this order; the number never changes between rounds."""


def assemble(
    own: OwnDraws, foreign: Sequence[Group], *, own_groups: int, total: int, phases: PhaseTimer
) -> TrainingBatch:
    """Put ``total`` groups together: foreign ones as given, own ones for the rest.

    Own groups that teach come first. Where foreign groups are missing and no own group that teaches is left over, the
    next slots are drawn; groups without signal fill what then remains, so that the shape stays the same.
    """
    places = total - len(foreign)
    teaching = [group for group in own.groups if group.has_signal]
    idle = [group for group in own.groups if not group.has_signal]
    if len(teaching) < places and places > own_groups and len(own.groups) < places:
        fresh = own.draw(places - len(own.groups), phases)
        teaching += [group for group in fresh if group.has_signal]
        idle += [group for group in fresh if not group.has_signal]
    chosen = (teaching + idle)[:places]
    # Fewer groups than places only where the bound on slots is smaller than the batch: repeat what there is.
    while len(chosen) < places:
        chosen.append(chosen[len(chosen) % max(len(own.groups), 1)])
    return TrainingBatch(groups=(*chosen, *foreign))

"""The border: whether a share is what its announcement said, and within the rules that this node plays by."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rgym_exp.swarm.listing import place_of
from rgym_exp.swarm.refused import ShareRejected
from rgym_exp.swarm.share import ShareLimits, decode_share
from rgym_exp.types import MAX_GROUP_COMPLETIONS, Announcement, Completion, ReceivedShare, Share


@dataclass(frozen=True, kw_only=True)
class ShareRules:
    """The rules of this node's swarm, which every share of a round must keep to."""

    swarm_id: str
    tasks_digest: str
    """Of this node's own tasks: problems can only be rebuilt from the same ones."""
    max_slots: int
    """Slots are in [0, max_slots): first draws and resamples, so that nobody can pick their problems at will."""
    num_generations: int | None
    """G, completions per group; None takes groups of any size from 2 up."""
    max_text_chars: int = 65_536
    """Per completion."""
    max_share_bytes: int = 4 * 1024 * 1024


def admit(data: bytes, announcement: Announcement, rules: ShareRules) -> ReceivedShare:
    """Decode and check the bytes that a peer served as the share it announced.

    Raises:
        ShareRejected: with the reason to count the drop under.
    """
    limits = ShareLimits(
        max_bytes=rules.max_share_bytes,
        max_unpacked_bytes=2 * rules.max_share_bytes,  # text packs at least so well; more is padding or a bomb
        max_groups=rules.max_slots,
        max_completions=rules.num_generations or MAX_GROUP_COMPLETIONS,
        max_text_chars=rules.max_text_chars,
    )
    share = decode_share(data, limits)
    objection = objection_to_share(share, announcement, rules)
    if objection is not None:
        raise ShareRejected(objection)
    return ReceivedShare(announcement=announcement, share=share)


def objection_to_announcement(announcement: Announcement, *, round: int, rules: ShareRules) -> str | None:
    """Why a share found while ``round`` is gathered is not worth fetching (a reason to count under), or None."""
    if announcement.swarm_id != rules.swarm_id:
        return "other_swarm"
    if announcement.listed != place_of(round):
        return "wrong_round"
    if announcement.tasks_digest != rules.tasks_digest:
        return "other_tasks"
    if announcement.share_size > rules.max_share_bytes:
        return "share_too_large"
    if not 0 < announcement.group_count <= rules.max_slots:
        return "group_count"
    return None


def objection_to_share(share: Share, announcement: Announcement, rules: ShareRules) -> str | None:
    """Why a decoded share is not taken in (a reason to count under), or None."""
    if (share.peer_id, share.swarm_id, share.round, share.tasks_digest) != (
        announcement.peer_id,
        announcement.swarm_id,
        announcement.round,
        announcement.tasks_digest,
    ):
        return "not_as_announced"
    if len(share.groups) != announcement.group_count:
        return "group_count"
    slots = [group.slot for group in share.groups]
    if len(set(slots)) != len(slots) or not all(0 <= slot < rules.max_slots for slot in slots):
        return "slots"
    for group in share.groups:
        if not _size_is_right(len(group.completions), rules.num_generations):
            return "group_size"
        if not all(_is_sound(completion, rules) for completion in group.completions):
            return "completion"
    return None


def _size_is_right(size: int, num_generations: int | None) -> bool:
    return size == num_generations if num_generations is not None else size >= 2


def _is_sound(completion: Completion, rules: ShareRules) -> bool:
    logprob = completion.mean_logprob
    return len(completion.text) <= rules.max_text_chars and (
        logprob is None or (math.isfinite(logprob) and logprob <= 0.0)
    )

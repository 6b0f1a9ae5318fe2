"""Announcements for the tests of the keeper and of what it knows."""

from __future__ import annotations

from rgym_exp.types import Announcement


def announcement(peer_id: str, round: int, *, listed: int | None = None) -> Announcement:
    """In time, unless it is ``listed`` under a later round."""
    return Announcement(
        swarm_id="s",
        round=round,
        listed=round if listed is None else listed,
        peer_id=peer_id,
        share_digest="0" * 64,
        share_size=1,
        group_count=1,
        tasks_digest="d",
        model_name="m",
        account="",
        mean_reward=0.5,
        time=0.0,
    )

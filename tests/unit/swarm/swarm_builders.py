"""Small builders for the tests of the swarm package."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import Any

from rgym_exp.types import Announcement, Completion, Group, Problem, Share, SharedGroup

SWARM_ID = "test-swarm"
TASKS_DIGEST = "ab" * 32
GENERATIONS = 2
MAX_SLOTS = 4
ANNOUNCED_AT = time.time() + 3600.0
"""The same for all, and ahead, so that a DHT keeps what was announced until a long run of the tests is over."""


def make_share(peer_id: str, round: int, *, group_count: int = 2, **changes: Any) -> Share:
    """A share that keeps to the rules above."""
    share = Share(
        swarm_id=SWARM_ID,
        round=round,
        peer_id=peer_id,
        tasks_digest=TASKS_DIGEST,
        groups=tuple(
            SharedGroup(
                slot=slot,
                completions=tuple(
                    Completion(text=f"<answer>{slot} {index}</answer>", ended=True, mean_logprob=-0.5)
                    for index in range(GENERATIONS)
                ),
            )
            for slot in range(group_count)
        ),
    )
    return replace(share, **changes)


def make_announcement(peer_id: str, round: int = 3, *, data: bytes = b"data", **changes: Any) -> Announcement:
    """An announcement of a share whose bytes are ``data``; on time unless ``listed`` says otherwise."""
    round = changes.get("round", round)
    announcement = Announcement(
        swarm_id=SWARM_ID,
        round=round,
        listed=round,
        peer_id=peer_id,
        share_digest=hashlib.sha256(data).hexdigest(),
        share_size=len(data),
        group_count=2,
        tasks_digest=TASKS_DIGEST,
        model_name="maker/model-1B",
        account="0x" + "12" * 20,
        mean_reward=0.25,
        time=ANNOUNCED_AT,
    )
    return replace(announcement, **changes)


def make_group(peer_id: str, slot: int, rewards: tuple[float, ...]) -> Group:
    """A scored group."""
    return Group(
        peer_id=peer_id,
        problem=Problem(slot=slot, dataset="gcd", question="?", entry={}),
        completions=tuple(Completion(text="x", ended=True) for _ in rewards),
        rewards=rewards,
    )

"""The border's rules, one refusal each."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import zstandard

from rgym_exp.swarm.refused import ShareRejected
from rgym_exp.swarm.share import encode_share
from rgym_exp.swarm.verify import ShareRules, admit, objection_to_announcement, objection_to_share
from rgym_exp.types import Completion, Share, SharedGroup
from tests.unit.swarm.swarm_builders import (
    GENERATIONS,
    MAX_SLOTS,
    SWARM_ID,
    TASKS_DIGEST,
    make_announcement,
    make_share,
)

RULES = ShareRules(
    swarm_id=SWARM_ID,
    tasks_digest=TASKS_DIGEST,
    max_slots=MAX_SLOTS,
    num_generations=GENERATIONS,
    max_text_chars=100,
    max_share_bytes=10_000,
)
PEER = "QmSomebody"


def group(slot: int = 0, *completions: Completion) -> SharedGroup:
    return SharedGroup(slot=slot, completions=completions or (Completion(text="a", ended=True),) * GENERATIONS)


def test_a_sound_share_is_admitted_with_its_announcement() -> None:
    share = make_share(PEER, 3)
    announcement = make_announcement(PEER, 3)
    received = admit(encode_share(share), announcement, RULES)
    assert (received.share, received.announcement) == (share, announcement)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"swarm_id": "other"}, "other_swarm"),
        ({"round": 4}, "wrong_round"),
        ({"tasks_digest": "cd" * 32}, "other_tasks"),
        ({"share_size": 10_001}, "share_too_large"),
        ({"group_count": 0}, "group_count"),
        ({"group_count": MAX_SLOTS + 1}, "group_count"),
    ],
)
def test_an_announcement_against_the_rules_is_not_followed(changes: dict[str, Any], reason: str) -> None:
    assert objection_to_announcement(make_announcement(PEER, **{"round": 3, **changes}), round=3, rules=RULES) == reason


def test_an_announcement_within_the_rules_is_followed() -> None:
    assert objection_to_announcement(make_announcement(PEER, 3), round=3, rules=RULES) is None


@pytest.mark.parametrize(
    ("share", "reason"),
    [
        (make_share("QmOther", 3), "not_as_announced"),
        (make_share(PEER, 4), "not_as_announced"),
        (make_share(PEER, 3, swarm_id="other"), "not_as_announced"),
        (make_share(PEER, 3, tasks_digest="cd" * 32), "not_as_announced"),
        (make_share(PEER, 3, group_count=1), "group_count"),
        (make_share(PEER, 3, groups=(group(1), group(1))), "slots"),
        (make_share(PEER, 3, groups=(group(0), group(MAX_SLOTS))), "slots"),
        (make_share(PEER, 3, groups=(group(0), group(-1))), "slots"),
        (make_share(PEER, 3, groups=(group(0), group(1, Completion(text="a", ended=True)))), "group_size"),
        (
            make_share(PEER, 3, groups=(group(0), group(1, *(Completion(text="a" * 101, ended=True),) * 2))),
            "completion",
        ),
        *(
            (
                make_share(
                    PEER, 3, groups=(group(0), group(1, *(Completion(text="a", ended=True, mean_logprob=bad),) * 2))
                ),
                "completion",
            )
            for bad in (math.nan, -math.inf, 0.5)
        ),
    ],
)
def test_a_share_against_the_rules_is_refused(share: Share, reason: str) -> None:
    assert objection_to_share(share, make_announcement(PEER, 3), RULES) == reason


def test_groups_of_any_size_from_two_pass_where_the_size_is_not_set() -> None:
    free = replace(RULES, num_generations=None)
    sizes = {
        size: make_share(PEER, 3, groups=(group(0), group(1, *(group().completions[:1] * size)))) for size in (1, 5)
    }
    assert objection_to_share(sizes[5], make_announcement(PEER, 3), free) is None
    assert objection_to_share(sizes[1], make_announcement(PEER, 3), free) == "group_size"


def test_limits_of_the_rules_hold_while_a_share_is_unpacked() -> None:
    unpacked = zstandard.ZstdCompressor().compress(bytes(2 * RULES.max_share_bytes + 1))
    with pytest.raises(ShareRejected, match="share_too_large"):
        admit(unpacked, make_announcement(PEER, 3), RULES)
    long = make_share(PEER, 3, groups=(group(0), group(1, *(Completion(text="a" * 101, ended=True),) * 2)))
    with pytest.raises(ShareRejected, match="share_malformed"):
        admit(encode_share(long), make_announcement(PEER, 3), RULES)


def test_bytes_that_are_no_share_are_refused() -> None:
    with pytest.raises(ShareRejected, match="share_malformed"):
        admit(b"garbage", make_announcement(PEER, 3), RULES)

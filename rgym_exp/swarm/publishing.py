"""Getting a share of this node's own ready to leave: its bytes, and the announcement that says where they are."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from rgym_exp.base.text import printable
from rgym_exp.swarm.announcement import MAX_MODEL_NAME_BYTES
from rgym_exp.swarm.exchange import INTERIM_ROUNDS
from rgym_exp.swarm.listing import listed_under
from rgym_exp.swarm.share import encode_share
from rgym_exp.swarm.verify import ShareRules
from rgym_exp.types import Announcement, Share, contract_round, interim_count

CAPABILITIES = (INTERIM_ROUNDS,)
"""What this version can do that others may have to know, as its announcements say."""
_A_MOMENT = 1e-3
"""Seconds."""


def prepare(
    share: Share,
    *,
    author: str,
    rules: ShareRules,
    swarm_round: int,
    model_name: str,
    account: str,
    mean_reward: float,
    now: float,
) -> tuple[bytes, Announcement]:
    """The share's bytes and its announcement, made at ``now`` (the swarm's time) while the swarm is at ``swarm_round``.

    Raises:
        ValueError: the share is not ``author``'s, or is larger than peers accept: a mistake of the caller's.
    """
    if share.peer_id != author:
        raise ValueError(f"Peer {author} can't publish a share in the name of {share.peer_id}.")
    data = encode_share(share)
    if len(data) > rules.max_share_bytes:
        raise ValueError(
            f"The share has {len(data)} bytes, more than the {rules.max_share_bytes} that peers accept. "
            "Lower training.max_completion_length, or raise communications.max_share_bytes for the whole swarm."
        )
    announcement = Announcement(
        swarm_id=share.swarm_id,
        round=share.round,
        listed=listed_under(share.round, swarm_round=swarm_round),
        peer_id=share.peer_id,
        share_digest=hashlib.sha256(data).hexdigest(),
        share_size=len(data),
        group_count=len(share.groups),
        tasks_digest=share.tasks_digest,
        model_name=_printable(model_name, MAX_MODEL_NAME_BYTES),
        account=account,
        mean_reward=mean_reward,
        time=now,
        capabilities=CAPABILITIES,
    )
    return data, announcement


def leave_notices(last: Announcement, *, reached: int, now: float) -> list[Announcement]:
    """All that a peer says when it leaves, having reached a round at or after that of its announcement ``last``.

    It says so in its round and in the next one, which the swarm may have reached already; in an interim round where
    its last announcement is, and in the round that the contract is at when it comes back.
    """
    if interim_count(last.round) or interim_count(reached):
        rounds = (last.round, contract_round(max(last.round, reached)) + 1)
        return [leave_notice(last, round=round, now=now) for round in rounds]
    here = max(last.listed, reached)
    return [leave_notice(last, round=round, now=now) for round in (here, here + 1)]


def leave_notice(last: Announcement, *, round: int, now: float) -> Announcement:
    """What a peer says when it leaves during ``round``, after its announcement ``last``.

    It takes the place of the announcement of the same round, if there is one, and then says what that one said: that
    this peer's part of the round is done. Otherwise it tells of no groups.
    """
    # Later in any case, also by a clock that was set back: of two records of one place the later is kept.
    notice = replace(last, time=max(last.time + _A_MOMENT, now), is_leave_notice=True)
    if round == last.round:
        return notice
    return replace(notice, round=round, listed=round, share_digest=bytes(32).hex(), share_size=0, group_count=0)


def _printable(text: str, max_bytes: int) -> str:
    return printable(text, "").encode("utf-8", "ignore")[:max_bytes].decode("utf-8", "ignore")

"""The values that flow between the packages: frozen, keyword-only, and free of behaviour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PROTOCOL = 2
"""Version of what peers, hubs and invites say to each other. 1: no late shares, no rounds without the contract."""

MAX_SWARM_ID_BYTES = 64
"""In UTF-8. Announcements with a longer one are dropped by every receiver."""
MAX_GROUP_COMPLETIONS = 64
"""Shares whose groups have more are dropped by every receiver."""

_ROUND_BITS = 40


def interim_round(round: int, count: int) -> int:
    """The number of an interim round: the ``count``-th (from 1) that is played after contract round ``round`` while
    the contract can't be asked, or by a node alone while the clock of network offline has no new one. It is no contract
    round, and stands for none."""
    return (count << _ROUND_BITS) | round


def contract_round(number: int) -> int:
    """The contract round of a round's number: itself, or the last one before an interim round."""
    return number & ((1 << _ROUND_BITS) - 1)


def interim_count(number: int) -> int:
    """Which interim round after its contract round this number is; 0 for a contract round."""
    return number >> _ROUND_BITS


def round_name(number: int) -> str:
    """How people read a round's number: ``12``, or ``12+3`` for the third interim round after it."""
    count = interim_count(number)
    return f"{contract_round(number)}+{count}" if count else str(number)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One reasoning-gym problem. Every peer rebuilds it from (swarm id, round, peer id, slot).

    Example: ``Problem(slot=0, dataset="gcd", question="Find the GCD of 8 and 12.", entry={...})``
    """

    slot: int
    """Which of its author's problems of the round this is, counted from 0; -1 for a held-out problem."""
    dataset: str
    """reasoning-gym's dataset name."""
    question: str
    """What the model is asked, as reasoning-gym words it."""
    entry: Mapping[str, Any]
    """reasoning-gym's own item (question, answer, metadata), which its scorer needs."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One sampled answer."""

    text: str
    """The decoded answer, without special tokens. All that an external peer sends of it, save the two facts below."""
    ended: bool
    """Whether the sampler drew the end-of-sequence token (False: cut off at the length limit)."""
    mean_logprob: float | None = None
    """Mean log-probability per token under the policy that sampled it, in nats; None when unknown."""
    token_ids: tuple[int, ...] | None = None
    """The sampled ids, EOS included, of a local completion; None for external text, which we tokenise ourselves."""
    token_logprobs: tuple[float, ...] | None = None
    """Log-probability of each of ``token_ids`` when it was sampled, nats; None when unknown."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """One problem, its G completions and their rewards, as we scored them ourselves."""

    peer_id: str
    """Who sampled it: this node (a local group) or another peer (an external group)."""
    problem: Problem
    completions: tuple[Completion, ...]
    """[G]"""
    rewards: tuple[float, ...]
    """[G], each in [0, 1], from our own scoring; never the sender's word."""

    @property
    def mean_reward(self) -> float:
        """Mean of the G rewards."""
        return sum(self.rewards) / len(self.rewards)

    @property
    def is_zero_advantage(self) -> bool:
        """Whether all rewards are equal: then every advantage is zero, and the group has no policy gradient."""
        return max(self.rewards) - min(self.rewards) <= 1e-9


@dataclass(frozen=True, kw_only=True)
class SharedGroup:
    """One group as it travels: the slot names the problem, so a sender chooses neither problem nor answer."""

    slot: int
    completions: tuple[Completion, ...]
    """[G], without token ids."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """All of a peer's groups of one round, as sent."""

    swarm_id: str
    round: int
    peer_id: str
    tasks_digest: str
    groups: tuple[SharedGroup, ...]


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """The small signed record in the DHT that says a share exists (under 1 KB encoded)."""

    swarm_id: str
    round: int
    """The round whose problems the share answers."""
    listed: int
    """The round under which it is published: its own, or a later one for a share that came late."""
    peer_id: str
    share_digest: str
    """sha256 of the share's bytes, 64 hex digits: what to ask the peer's stream server for."""
    share_size: int
    """Bytes."""
    group_count: int
    tasks_digest: str
    """Digest of the tasks file and reasoning-gym's version; a share with another digest is left alone."""
    model_name: str
    account: str
    """The account that registered this peer, as 0x-hex, or "" when there is no chain."""
    mean_reward: float
    time: float
    """When it was written, in the swarm's time as its author has it, seconds since the epoch. For people to read; it
    only puts one peer's own records in order."""
    is_leave_notice: bool = False
    """Its author has left, and its shares with it: nobody need wait for this peer. With groups, its part of the round
    was done before."""
    protocol: int = PROTOCOL
    """What its author speaks."""
    capabilities: tuple[str, ...] = ()
    """What its author can do that not every version can (``exchange.INTERIM_ROUNDS``), by short names; unknown ones
    mean nothing."""

    @property
    def is_late(self) -> bool:
        """Whether its round was over when it was published."""
        return self.listed > self.round and not interim_count(self.round)


@dataclass(frozen=True, kw_only=True)
class ReceivedShare:
    """A share that passed every check of the border, with the announcement that led to it."""

    announcement: Announcement
    share: Share


@dataclass(frozen=True, kw_only=True)
class RoundReport:
    """What one finished round was like: the line in ``metrics.jsonl`` and what every tracker and view is given."""

    round: int
    """The contract's round; of an interim round, the last one that was known."""
    step: int
    """How many rounds this node has taken part in, this one included; 0: see ``is_before_training``."""
    time: float
    """When it ended, seconds since the epoch."""
    skipped: int
    """Rounds missed since the last one played, because the swarm moved on meanwhile."""
    local_groups: int
    """Groups of own problems in the batch, fillers included."""
    external_groups: int
    """Groups of other peers in the batch."""
    external_peers: tuple[str, ...]
    """Peer ids whose groups are in the batch, without repeats."""
    local_reward: float
    """Mean reward of all local completions of the round, before resampling: the policy's training reward, in [0, 1]."""
    external_reward: float | None
    """Mean reward of the selected external completions; None without any."""
    held_out: float | None
    """Greedy accuracy on the held-out set, in [0, 1]; None in rounds without an evaluation."""
    zero_advantage_share: float
    """Share of local groups drawn whose rewards were all equal, in [0, 1]."""
    truncated_share: float
    """Share of local completions cut off at the length limit, in [0, 1]."""
    loss: float
    entropy: float
    """Mean per-token entropy, nats."""
    grad_norm: float
    clip_share: float
    """Share of tokens whose ratio was clipped, in [0, 1]."""
    tokens_per_second: float
    """Sampled tokens over seconds of generation."""
    phase_seconds: Mapping[str, float]
    """Seconds by phase: wait, generate, score, publish, gather, train, record."""
    peak_memory_bytes: int
    outbox_depth: int
    """Transactions not yet confirmed."""
    dropped: Mapping[str, int]
    """Records and shares of others dropped this round, by reason."""
    vote: str | None
    """Peer id voted for; None when nobody earned a vote."""
    external_weights: Mapping[str, float] = field(default_factory=dict)
    """How much external completions weighed in the loss: mean, min, max, and share_below_one; empty without any."""
    judge_score: float | None = None
    """Mean score, in [0, 1], of the answers that the judge scored since the last report; None without any."""
    judge_answers: int = 0
    """How many answers that were."""
    bet_tokens: float | None = None
    """Tokens to bet in the prediction market, when last heard of; None where this node doesn't play."""
    interim: int = 0
    """Which round after ``round`` this was while the hub was away, or while a node alone had no new one by the clock
    (network offline); counted from 1; 0 for a round of the contract or the clock."""
    ways: Mapping[str, str] = field(default_factory=dict)
    """Which way each peer's share came: ``direct`` from the peer itself, over a ``circuit`` (libp2p's own relay), or
    passed on by a ``bootnode``."""

    @property
    def number(self) -> int:
        """What names the round among peers."""
        return interim_round(self.round, self.interim)

    @property
    def is_before_training(self) -> bool:
        """Whether this is step 0: no round, only the held-out accuracy that the model began with."""
        return self.step == 0

    @property
    def way_counts(self) -> Mapping[str, int]:
        """How many shares came which way, the most frequent way first."""
        return dict(Counter(self.ways.values()).most_common())


@dataclass(frozen=True, kw_only=True)
class StepStats:
    """What one optimizer step was like, as the trainer logged it."""

    step: int
    """How many optimizer steps this model has made, this one included."""
    loss: float
    entropy: float
    """Mean per-token entropy, nats."""
    grad_norm: float
    """Before clipping."""
    clip_share: float
    """Share of tokens whose ratio was clipped, in [0, 1]."""
    peak_memory_bytes: int
    external_weights: Mapping[str, float] = field(default_factory=dict)
    """As in ``RoundReport``."""

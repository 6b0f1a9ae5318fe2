"""From the groups of a round to what TRL's ``rollout_func`` returns, and the weight of external groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rgym_exp.training.policy import Chat, ChatTokens
from rgym_exp.types import Group, Problem

_LOWEST_WEIGHT = 0.8
EXTERNAL_WEIGHT = "external_weight"
"""Metric of the trainer: a value for every external completion. In its log: ``external_weight/<statistic>``."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One row per completion; the G rows of a group stand together, as TRL's advantages expect."""

    prompt_ids: list[list[int]]
    completion_ids: list[list[int]]
    logprobs: list[list[float]]
    """Log-probability of each token when it was sampled; NaN where unknown, which TRL counts as on-policy."""
    rewards: list[float]
    sender_mean_logprobs: list[float]
    """An external completion's mean log-probability under its sender's policy; NaN for local ones and where unknown."""
    external: list[bool]
    """Whether another peer sampled it."""


def to_rollout(groups: Sequence[Group], *, me: str, tokens: ChatTokens, messages: Callable[[Problem], Chat]) -> Rollout:
    """Tokenise a batch: local completions as sampled, external text with our own chat template and tokenizer."""
    rollout = Rollout(prompt_ids=[], completion_ids=[], logprobs=[], rewards=[], sender_mean_logprobs=[], external=[])
    for group in groups:
        prompt = tokens.prompt(messages(group.problem))
        for completion, reward in zip(group.completions, group.rewards, strict=True):
            ids = tokens.answer(completion)
            external = group.peer_id != me
            known = completion.mean_logprob if external else None
            rollout.prompt_ids.append(prompt)
            rollout.completion_ids.append(ids)
            rollout.logprobs.append(list(completion.token_logprobs or [math.nan] * len(ids)))
            rollout.rewards.append(reward)
            rollout.sender_mean_logprobs.append(math.nan if known is None else known)
            rollout.external.append(external)
    return rollout


def external_weights(local_mean_logprobs: Tensor, sender_mean_logprobs: Tensor) -> Tensor:
    """clip(exp(mean log-prob under our policy - under the sender's), 0.8, 1.0) (HACPO, arXiv 2603.02604).

    The upper bound is 1, so a sender that lies about its log-probs can only lower the weight of its groups. Local
    completions and unknown senders (NaN) weigh 1.

    Args:
        local_mean_logprobs: ``[B]``, nats per token.
        sender_mean_logprobs: ``[B]``, nats per token, NaN where there is none.
    """
    weights = (local_mean_logprobs - sender_mean_logprobs).exp().clamp(_LOWEST_WEIGHT, 1.0)
    return torch.where(sender_mean_logprobs.isnan(), torch.ones_like(weights), weights)


def weight_statistics(weights: Sequence[float]) -> dict[str, float]:
    """What a batch's external completions weighed, as ``StepStats.external_weights`` has it; nothing without any."""
    if not weights:
        return {}
    return {
        "mean": sum(weights) / len(weights),
        "min": min(weights),
        "max": max(weights),
        "share_below_one": sum(weight < 1 for weight in weights) / len(weights),
    }


def logged_weight_statistics(logs: Mapping[str, float]) -> dict[str, float]:
    """``weight_statistics`` as they stand in a line of the trainer's log."""
    prefix = f"{EXTERNAL_WEIGHT}/"
    return {name.removeprefix(prefix): float(number) for name, number in logs.items() if name.startswith(prefix)}

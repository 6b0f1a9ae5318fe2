"""Sampling the completions of a round: every prompt is computed once, and answers that ended leave the batch.

``transformers.generate`` computes a group's prompt G times and keeps finished answers in the batch until the longest
one ends. Here the prompts are prefilled once and their cache repeated (as in vLLM's prefix caching), and rows are
dropped as they end. The distribution sampled from is the same: softmax(logits / temperature), optionally cut by top-k
and top-p in the order in which transformers applies them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, LogitsProcessorList, TopKLogitsWarper, TopPLogitsWarper

# Fewer live rows than this share of the batch, and copying the cache of the live ones pays for itself.
_COMPACT_BELOW = 0.75


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How to sample. ``temperature`` 0 is greedy."""

    max_new_tokens: int
    temperature: float
    top_k: int
    top_p: float
    eos_token_ids: tuple[int, ...]
    pad_token_id: int


@dataclass(frozen=True, kw_only=True)
class SampledTokens:
    """One sampled answer as ids."""

    token_ids: tuple[int, ...]
    """Sampled ids, the EOS that ended it included."""
    logprobs: tuple[float, ...]
    """Log-probability of each id under the distribution sampled from, nats."""
    ended: bool
    """Whether EOS was drawn before the length limit."""


@torch.no_grad()
def sample_groups(
    model: nn.Module, prompts: Sequence[Sequence[int]], copies: int, settings: SamplingSettings
) -> list[list[SampledTokens]]:
    """Sample ``copies`` answers to each prompt in one batched call.

    Args:
        model: a causal language model in eval mode, called as transformers models are.
        prompts: token ids of each prompt.
        copies: G, answers per prompt.

    Returns:
        ``[len(prompts)][copies]`` answers.
    """
    device = next(model.parameters()).device
    logits, cache, mask = prefill(model, prompts, copies, settings.pad_token_id, device)
    warp = _warpers(settings)
    no_ids: Any = None  # Neither filter looks at the ids so far.
    eos = torch.tensor(settings.eos_token_ids, device=device)
    rows = len(prompts) * copies
    tokens = torch.full((rows, settings.max_new_tokens), settings.pad_token_id, dtype=torch.long, device=device)
    logprobs = torch.zeros((rows, settings.max_new_tokens), device=device)
    lengths = torch.full((rows,), settings.max_new_tokens, device=device)
    ended = torch.zeros(rows, dtype=torch.bool, device=device)
    live = torch.arange(rows, device=device)  # which answer each row of the batch is
    for step in range(settings.max_new_tokens):
        drawn, drawn_logprobs = _draw(warp(no_ids, logits) if warp else logits, settings.temperature)
        writable = ~ended[live]
        tokens[live[writable], step] = drawn[writable]
        logprobs[live[writable], step] = drawn_logprobs[writable]
        ends = writable & torch.isin(drawn, eos)
        ended[live[ends]] = True
        lengths[live[ends]] = step + 1
        alive = ~ended[live]
        count = int(alive.sum())
        if count == 0 or step + 1 == settings.max_new_tokens:
            break
        if count < _COMPACT_BELOW * len(live):
            keep = alive.nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            live, drawn, mask = live[keep], drawn[keep], mask[keep]
        mask = torch.cat([mask, mask.new_ones(len(live), 1)], dim=1)
        logits = next_logits(model, drawn.unsqueeze(1), mask, cache)
    return _collect(tokens, logprobs, lengths, ended, copies)


def prefill(
    model: nn.Module, prompts: Sequence[Sequence[int]], copies: int, pad: int, device: torch.device
) -> tuple[Tensor, DynamicCache, Tensor]:
    """Run the left-padded prompts once. Returns logits ``[B * G, V]``, their cache and mask ``[B * G, P]``."""
    width = max(len(ids) for ids in prompts)
    input_ids = torch.tensor([[pad] * (width - len(ids)) + list(ids) for ids in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts], device=device)
    config: Any = model.config
    cache = DynamicCache(config=config)
    logits = next_logits(model, input_ids, mask, cache)
    cache.batch_repeat_interleave(copies)
    return logits.repeat_interleave(copies, dim=0), cache, mask.repeat_interleave(copies, dim=0)


def next_logits(model: nn.Module, input_ids: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
    """Logits ``[rows, V]`` of the token after ``input_ids`` ``[rows, n]``; the cache grows by n."""
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -input_ids.size(1) :]
    output: Any = model(
        input_ids=input_ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return output.logits[:, -1].float()


def _warpers(settings: SamplingSettings) -> LogitsProcessorList:
    warpers = LogitsProcessorList()
    if settings.top_k > 0:
        warpers.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        warpers.append(TopPLogitsWarper(settings.top_p))
    return warpers


def _draw(logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Draw one id per row of ``[rows, V]``; returns ids and their log-probabilities, each ``[rows]``.

    By inverting the cumulative distribution: one uniform number per row, where ``torch.multinomial`` draws one
    exponential per vocabulary entry, which on a CPU costs as much as the model's matrix products.
    """
    if temperature == 0:
        logprobs = logits.log_softmax(dim=-1)
        best = logits.argmax(dim=-1)
        return best, logprobs.gather(1, best.unsqueeze(1)).squeeze(1)
    probs = (logits / temperature).softmax(dim=-1)
    cumulative = probs.cumsum(dim=-1)
    # Scaled by the total, which rounding leaves a little off 1; `right` skips entries of probability 0.
    point = torch.rand(len(probs), 1, device=probs.device) * cumulative[:, -1:]
    ids = torch.searchsorted(cumulative, point, right=True).clamp(max=probs.size(1) - 1)
    return ids.squeeze(1), probs.gather(1, ids).squeeze(1).clamp(min=1e-30).log()


def _collect(
    tokens: Tensor, logprobs: Tensor, lengths: Tensor, ended: Tensor, copies: int
) -> list[list[SampledTokens]]:
    answers = [
        SampledTokens(token_ids=tuple(ids[:length]), logprobs=tuple(values[:length]), ended=done)
        for ids, values, length, done in zip(
            tokens.tolist(), logprobs.tolist(), lengths.tolist(), ended.tolist(), strict=True
        )
    ]
    return [answers[start : start + copies] for start in range(0, len(answers), copies)]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model without dropout; afterwards as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)

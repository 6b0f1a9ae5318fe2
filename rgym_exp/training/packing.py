"""Packed log-probabilities: the prompt that a group's G completions share is computed once, not G times.

A group is laid out as one row ``[prompt, c_1, ..., c_G]``. Positions restart after the prompt for every completion, and
a 4-D attention mask lets each completion see the prompt and itself, so every token's context is the one it has in a row
of its own and the log-probabilities are the same. Prefix sharing of this kind is known from inference (vLLM's prefix
caching, Hydragen, arXiv 2402.05099); here it serves the forward and the backward pass of the policy update.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig


@dataclass(frozen=True, kw_only=True)
class PackedGroups:
    """N groups of G completions, one packed row per group; P and C are the batch's padded lengths."""

    input_ids: Tensor
    """``[N, P + G * C]``"""
    position_ids: Tensor
    """``[N, P + G * C]``"""
    attention_mask: Tensor
    """Bool ``[N, 1, P + G * C, P + G * C]``: which column each row may look at."""
    completion_ids: Tensor
    """``[N * G, C]``, the ids whose log-probabilities are wanted."""
    group_size: int
    prompt_length: int
    """P."""


def pack_groups(input_ids: Tensor, attention_mask: Tensor, completion_length: int, group_size: int) -> PackedGroups:
    """Pack a batch in which every ``group_size`` rows in a row share their prompt.

    Args:
        input_ids: ``[B, P + C]``, prompts padded on the left, completions on the right.
        attention_mask: ``[B, P + C]``, 1 for real tokens.
        completion_length: C.
        group_size: G; divides B.
    """
    total = input_ids.size(1)
    prompt_length = total - completion_length
    groups = input_ids.size(0) // group_size
    prompts, prompt_mask = input_ids[::group_size, :prompt_length], attention_mask[::group_size, :prompt_length]
    completions, completion_mask = input_ids[:, prompt_length:], attention_mask[:, prompt_length:]
    prompt_positions = (prompt_mask.cumsum(dim=1) - 1).clamp(min=0)
    # Each completion continues where its prompt ended, whatever lies before it in the packed row.
    offsets = torch.arange(1, completion_length + 1, device=input_ids.device)
    completion_positions = prompt_positions[:, -1:] + offsets
    return PackedGroups(
        input_ids=torch.cat([prompts, completions.reshape(groups, -1)], dim=1),
        position_ids=torch.cat([prompt_positions, completion_positions.repeat(1, group_size)], dim=1),
        attention_mask=_mask(prompt_mask.bool(), completion_mask.reshape(groups, group_size, -1).bool()),
        completion_ids=completions,
        group_size=group_size,
        prompt_length=prompt_length,
    )


def _mask(prompt_mask: Tensor, completion_mask: Tensor) -> Tensor:
    """Causal within the prompt and within each completion; completions see their prompt and never each other."""
    groups, prompt_length = prompt_mask.shape
    _, group_size, completion_length = completion_mask.shape
    device = prompt_mask.device
    total = prompt_length + group_size * completion_length
    # 0 for the prompt, 1..G for the completions: the segment that each column belongs to.
    segment = torch.cat(
        [
            torch.zeros(prompt_length, dtype=torch.long, device=device),
            torch.arange(1, group_size + 1, device=device).repeat_interleave(completion_length),
        ]
    )
    causal = torch.ones(total, total, dtype=torch.bool, device=device).tril()
    related = (segment[:, None] == segment[None, :]) | (segment[None, :] == 0)
    real = torch.cat([prompt_mask, completion_mask.reshape(groups, -1)], dim=1)
    mask = (causal & related)[None] & real[:, None, :]
    # A padded query that may look nowhere makes softmax divide 0 by 0; let it look at itself.
    mask |= torch.eye(total, dtype=torch.bool, device=device)[None]
    return mask[:, None]


def packing_pays(config: PretrainedConfig, prompt_length: int, completion_length: int, group_size: int) -> bool:
    """Whether a packed group costs fewer multiplications than its rows one by one.

    Packing saves G - 1 prompts in the linear layers, but its attention is dense over the whole row, completions that
    may not see each other included, so long answers are better off in rows of their own.
    """
    text = config.get_text_config()
    hidden, layers = text.hidden_size, text.num_hidden_layers
    # Per token: about 12 hidden^2 a layer in the linear layers, 2 x length x hidden a layer in attention.
    linear, attention = 12 * hidden * hidden * layers, 2 * hidden * layers
    row, packed = prompt_length + completion_length, prompt_length + group_size * completion_length
    return packed * (linear + attention * packed) < group_size * row * (linear + attention * row)


def packed_log_probs(model: nn.Module, packed: PackedGroups, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of the completions' tokens.

    Args:
        model: the policy, possibly wrapped for distributed training: it is called, not looked into.
        temperature: what the logits are divided by, as in sampling.

    Returns:
        log-probabilities and entropies in nats, each ``[N * G, C]``, in the order of the unpacked batch.
    """
    rows, length = packed.input_ids.shape
    first = packed.prompt_length - 1
    # Only the prompt's last position and the completions' own predict a completion token.
    wanted = torch.arange(first, length, device=packed.input_ids.device)
    output = model(
        input_ids=packed.input_ids,
        attention_mask=packed.attention_mask,
        position_ids=packed.position_ids,
        logits_to_keep=wanted,
        use_cache=False,
    )
    logits = output.logits / temperature  # [N, 1 + G * C, V]
    completion_length = packed.completion_ids.size(1)
    ids = packed.completion_ids.reshape(rows, packed.group_size, completion_length)
    log_probs, entropies = _score(logits, _predictors(packed.group_size, completion_length, logits.device), ids)
    return log_probs.flatten(0, 1), entropies.flatten(0, 1)


def _predictors(group_size: int, completion_length: int, device: torch.device) -> Tensor:
    """``[G, C]``: which of the kept logits predicts token c of completion g (0 is the prompt's last position)."""
    within = torch.arange(completion_length, device=device)
    starts = torch.arange(group_size, device=device)[:, None] * completion_length
    return torch.where(within[None] == 0, 0, starts + within[None])


def _score(logits: Tensor, predictors: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    rows, group_size, completion_length = ids.shape
    normalizer = logits.float().logsumexp(dim=-1)  # [N, 1 + G * C]
    with torch.no_grad():
        log_probs_all = logits.float() - normalizer[..., None]
        entropy = -(log_probs_all.exp() * log_probs_all).sum(dim=-1)
    flat = predictors.reshape(1, -1).expand(rows, -1)
    row = torch.arange(rows, device=ids.device)[:, None]
    chosen = logits[row, flat, ids.reshape(rows, -1)].float()  # [N, G * C]
    log_probs = chosen - normalizer.gather(1, flat)
    shape = (rows, group_size, completion_length)
    return log_probs.reshape(shape), entropy.gather(1, flat).reshape(shape)

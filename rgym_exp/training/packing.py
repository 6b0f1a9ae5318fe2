"""Packed log-probabilities: the prompt that a group's G completions share is computed once, not G times.

A group is laid out as one row ``[prompt, c_1, ..., c_G]``. Positions restart after the prompt for every completion, and
attention lets each completion see the prompt and itself, so every token's context is the one it has in a row of its
own and the log-probabilities are the same. Sharing a prefix is known from inference (Hydragen, arXiv 2402.05099); here
it serves the forward and the backward pass of the policy update. Attention costs what it costs unpacked: it runs over
blocks of [prompt, one completion], never over the whole row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rgym_exp.training.token_log_probs import token_log_probs

_ATTENTION = "rl_swarm_packed"


@dataclass(frozen=True, kw_only=True)
class PackedLayout:
    """Where the parts of the packed rows are; handed down to every attention layer."""

    prompt_length: int
    """P."""
    group_size: int
    """G."""
    completion_length: int
    """C."""
    prompt_mask: Tensor
    """Bool ``[N, 1, P, P]``: causal, padding left out."""
    completion_mask: Tensor
    """Bool ``[N * G, 1, C, P + C]``: the prompt, and causally the completion itself."""


@dataclass(frozen=True, kw_only=True)
class PackedGroups:
    """N groups of G completions, one packed row per group; P and C are the batch's padded lengths."""

    input_ids: Tensor
    """``[N, P + G * C]``"""
    position_ids: Tensor
    """``[N, P + G * C]``"""
    completion_ids: Tensor
    """``[N * G, C]``, the ids whose log-probabilities are wanted."""
    layout: PackedLayout


def enable_packing(model: PreTrainedModel) -> bool:
    """Give the model the attention that packed rows need; without a layout it goes on as before.

    Returns:
        False, leaving the model alone, for one whose layers are not all plain attention over the whole context.
    """
    config = model.config.get_text_config()
    # Newer configurations list the kind of every layer; older ones have one window for all layers, or none.
    default = ["full_attention"] if getattr(config, "sliding_window", None) is None else ["sliding_attention"]
    kinds = set(getattr(config, "layer_types", None) or default)
    if not model._supports_attention_backend or kinds != {"full_attention"}:
        return False
    AttentionInterface.register(_ATTENTION, _attention)
    AttentionMaskInterface.register(_ATTENTION, sdpa_mask)
    model.set_attn_implementation(_ATTENTION)
    return True


def pack_groups(input_ids: Tensor, attention_mask: Tensor, completion_length: int, group_size: int) -> PackedGroups:
    """Pack a batch in which every ``group_size`` rows in a row share their prompt.

    Args:
        input_ids: ``[B, P + C]``, prompts padded on the left, completions on the right.
        attention_mask: ``[B, P + C]``, 1 for real tokens.
        completion_length: C.
        group_size: G; divides B.
    """
    prompt_length = input_ids.size(1) - completion_length
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
        completion_ids=completions,
        layout=PackedLayout(
            prompt_length=prompt_length,
            group_size=group_size,
            completion_length=completion_length,
            prompt_mask=_causal(prompt_mask.bool()),
            completion_mask=torch.cat(
                [
                    attention_mask[:, None, None, :prompt_length].bool().expand(-1, -1, completion_length, -1),
                    _causal(completion_mask.bool()),
                ],
                dim=-1,
            ),
        ),
    )


def _causal(real: Tensor) -> Tensor:
    """``[rows, length]`` real tokens to a bool mask ``[rows, 1, length, length]``; padding may look at itself."""
    causal = torch.ones(real.size(1), real.size(1), dtype=torch.bool, device=real.device).tril()
    # A query that may look nowhere makes softmax divide 0 by 0.
    itself = torch.eye(real.size(1), dtype=torch.bool, device=real.device)
    return ((causal & real[:, None]) | itself)[:, None]


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed_layout: PackedLayout | None = None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention over packed rows ``[N, heads, P + G * C, head size]``; transformers' own without a layout."""
    if packed_layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    layout = packed_layout
    scale = query.size(-1) ** -0.5 if scaling is None else scaling
    (prompt_q, rows_q), (prompt_k, rows_k), (prompt_v, rows_v) = (_split(x, layout) for x in (query, key, value))
    prompts = _attend(prompt_q, prompt_k, prompt_v, layout.prompt_mask, scale)
    completions = _attend(
        rows_q,
        torch.cat([prompt_k.repeat_interleave(layout.group_size, dim=0), rows_k], dim=2),
        torch.cat([prompt_v.repeat_interleave(layout.group_size, dim=0), rows_v], dim=2),
        layout.completion_mask,
        scale,
    )
    # Back to one row per group: [N * G, heads, C, d] -> [N, G * C, heads, d].
    rows, heads, _, size = completions.shape
    in_rows = completions.transpose(1, 2).reshape(rows // layout.group_size, -1, heads, size)
    return torch.cat([prompts.transpose(1, 2), in_rows], dim=1), None


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Grouped-query attention of ``[rows, heads, q, d]`` over ``[rows, key heads, k, d]`` under ``[rows, 1, q, k]``."""
    # Under autocast the rotary embedding hands back fp32, while values are in the compute type.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if query.device.type != "cpu":
        return scaled_dot_product_attention(query, key, value, mask, scale=scale, enable_gqa=True)
    # At these short lengths a CPU does two plain products several times faster than SDPA's flash kernel, whose backward
    # pass in bf16 is slow; and heads that share a key are stacked instead of copying the key for each.
    shared, length = query.size(1) // key.size(1), query.size(2)
    with torch.autocast(query.device.type, enabled=False):
        bias = torch.zeros(mask.shape, dtype=query.dtype).masked_fill_(~mask, float("-inf")).repeat(1, 1, shared, 1)
        stacked = query.unflatten(1, (key.size(1), shared)).flatten(2, 3)
        scores = (stacked * scale) @ key.transpose(-1, -2) + bias
        return (scores.softmax(dim=-1) @ value).unflatten(2, (shared, length)).flatten(1, 2)


def _split(x: Tensor, layout: PackedLayout) -> tuple[Tensor, Tensor]:
    """``[N, heads, P + G * C, d]`` into prompts ``[N, heads, P, d]`` and completions ``[N * G, heads, C, d]``."""
    groups, heads, _, size = x.shape
    completions = x[:, :, layout.prompt_length :].unflatten(2, (layout.group_size, layout.completion_length))
    return x[:, :, : layout.prompt_length], completions.transpose(1, 2).reshape(
        -1, heads, layout.completion_length, size
    )


def packed_log_probs(model: nn.Module, packed: PackedGroups, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of the completions' tokens.

    Args:
        model: the policy after ``enable_packing``, possibly wrapped for distributed training: it is called, not
            looked into.
        temperature: what the logits are divided by, as in sampling.

    Returns:
        log-probabilities and entropies in nats, each ``[N * G, C]``, in the order of the unpacked batch.
    """
    output = model(
        input_ids=packed.input_ids,
        position_ids=packed.position_ids,
        # Four dimensions, so that transformers hands it on untouched; the layout holds the real masks.
        attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=packed.input_ids.device),
        logits_to_keep=_predictors(packed.layout, packed.input_ids.device),
        packed_layout=packed.layout,
        use_cache=False,
    )
    log_probs, entropies = token_log_probs(
        output.logits, packed.completion_ids.reshape(len(packed.input_ids), -1), temperature
    )
    shape = packed.completion_ids.shape
    return log_probs.view(shape), entropies.view(shape)


def _predictors(layout: PackedLayout, device: torch.device) -> Tensor:
    """``[G * C]``: the position whose logits predict each completion token; a first one follows the prompt's last."""
    positions = torch.arange(layout.group_size * layout.completion_length, device=device) + layout.prompt_length - 1
    positions[:: layout.completion_length] = layout.prompt_length - 1
    return positions

"""Log-probability and entropy of chosen tokens, without keeping the softmax over the vocabulary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Rows that are worked on at once: small enough that their fp32 logits stay in a CPU's cache, and that a GPU's memory
# never holds a second copy of all logits.
_CPU_ROWS = 64
_GPU_ROWS = 4096


def token_log_probs(logits: Tensor, ids: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-softmax of ``logits / temperature`` at ``ids``, and the entropy of that distribution.

    Args:
        logits: ``[..., V]``, of any float type; computed in fp32 (fp64 stays).
        ids: ``[...]``.

    Returns:
        log-probabilities (differentiable) and entropies (not), nats, each ``[...]``.
    """
    log_probs, entropies = _TokenLogProbs.apply(logits.flatten(0, -2), ids.flatten(), temperature)
    return log_probs.view(ids.shape), entropies.view(ids.shape)


class _TokenLogProbs(torch.autograd.Function):
    """Keeps the logits and their normaliser for the backward pass: d log p(i) / d logit(j) = [i = j] - p(j)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, ids: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        wide = _wide(logits)
        log_probs = torch.empty(len(ids), dtype=wide, device=logits.device)
        entropies, normalizers = torch.empty_like(log_probs), torch.empty_like(log_probs)
        for rows in _chunks(logits):
            scaled = logits[rows].to(wide) / temperature
            normalizers[rows] = scaled.logsumexp(dim=-1)
            shifted = scaled.sub_(normalizers[rows, None])
            log_probs[rows] = shifted.gather(1, ids[rows, None]).squeeze(1)
            entropies[rows] = -(shifted.exp() * shifted).sum(dim=-1)
        ctx.save_for_backward(logits, ids, normalizers)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropies)
        return log_probs, entropies

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        logits, ids, normalizers = ctx.saved_tensors
        upstream = gradients[0] / ctx.temperature
        gradient = torch.empty_like(logits)
        for rows in _chunks(logits):
            scaled = logits[rows].to(upstream.dtype) / ctx.temperature
            part = (scaled - normalizers[rows, None]).exp_().mul_(-upstream[rows, None])
            gradient[rows] = part.scatter_add_(1, ids[rows, None], upstream[rows, None]).to(logits.dtype)
        return gradient, None, None


def _wide(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)


def _chunks(logits: Tensor) -> list[slice]:
    size = _CPU_ROWS if logits.device.type == "cpu" else _GPU_ROWS
    return [slice(start, start + size) for start in range(0, len(logits), size)]

"""How likely given answers are: the prompt they share is computed once, and all of them in one batched pass after it.

As in ``sampling.py`` the prompt is prefilled and its cache repeated, here for answers whose tokens are known, so that
a single pass over them is enough.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from rgym_exp.training.out_of_memory import halve_until_it_fits
from rgym_exp.training.token_log_probs import token_log_probs

MAX_TOKENS = 2048
"""Of the prompt and of the longest answer together. Both may be a stranger's text, which must not use up the memory."""

# What one pass may hold, in token positions: logits over the whole vocabulary are the larger part of it, and the
# repeated cache the other. 64 short answers to a usual prompt stay within both.
_ANSWER_POSITIONS = 1024
_CACHED_POSITIONS = 32 * 1024

_Pass = Callable[[Sequence[Sequence[int]]], Tensor]
"""From some answers to their summed log-probabilities, ``[len(answers)]``."""


@torch.no_grad()
def score_answers(
    model: nn.Module, prompt: Sequence[int], answers: Sequence[Sequence[int]], *, repeats_cache: bool = True
) -> list[float]:
    """Summed log-probability of each answer's tokens after the prompt, in nats and in fp32.

    The model is called once for the prompt and once for all answers; more answers than fit memory at once take more
    calls of the second kind. Models whose cache can't be repeated compute the prompt again with every answer.

    Args:
        model: a causal language model in eval mode, called as transformers models are.
        prompt: its token ids.
        answers: token ids of each answer.
        repeats_cache: False for a model that was seen to be wrong after a repeated cache (``probe.py``).

    Returns:
        ``[len(answers)]``; no answer's score depends on the others.

    Raises:
        ValueError: prompt or an answer has no tokens, or the two have more than ``MAX_TOKENS`` or than the model takes.
    """
    if not answers:
        return []
    longest = max(map(len, answers))
    _require_fit(model, prompt, answers, longest)
    one_pass = (_after_shared_prompt if repeats_cache and _repeats_its_cache(model) else _in_full_rows)(model, prompt)

    def run(rows: int) -> list[float]:
        parts = [answers[start : start + rows] for start in range(0, len(answers), rows)]
        return [score for part in parts for score in one_pass(part).tolist()]

    rows = min(len(answers), _ANSWER_POSITIONS // longest, _CACHED_POSITIONS // (len(prompt) + longest))
    scores, _ = halve_until_it_fits(max(rows, 1), run, "answers")
    return scores


def _require_fit(model: nn.Module, prompt: Sequence[int], answers: Sequence[Sequence[int]], longest: int) -> None:
    if not prompt or not all(answers):
        raise ValueError("a prompt or an answer without tokens has no log-probability")
    config: Any = model.config
    # A learned table of positions ends there, and a GPU that reads beyond it is lost for this process.
    limit = min(MAX_TOKENS, getattr(config.get_text_config(), "max_position_embeddings", None) or MAX_TOKENS)
    if len(prompt) + longest > limit:
        raise ValueError(f"prompt and answer have {len(prompt) + longest} tokens; {limit} can be scored")


def _repeats_its_cache(model: nn.Module) -> bool:
    """Whether every layer keeps the keys and values of the whole context, one row for each of the batch."""
    # Sliding windows, recurrent states and the like have layers of other kinds, or a cache of the model's own.
    if getattr(model, "_is_stateful", False):
        return False
    config: Any = model.config
    layers = DynamicCache(config=config).layers
    # Without a list of layers in the configuration all of them are of the plain kind, made when they are needed.
    return all(type(layer) is DynamicLayer for layer in layers)


def _after_shared_prompt(model: nn.Module, prompt: Sequence[int]) -> _Pass:
    """Prefill the prompt; the pass then runs answers over its repeated cache."""
    config: Any = model.config
    device = next(model.parameters()).device
    prefilled = DynamicCache(config=config)
    ids = torch.tensor([prompt], device=device)
    output: Any = model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        position_ids=torch.arange(len(prompt), device=device)[None],
        past_key_values=prefilled,
        use_cache=True,
        logits_to_keep=1,
    )
    first_logits = output.logits[:, -1]

    def one_pass(answers: Sequence[Sequence[int]]) -> Tensor:
        tokens, real = _padded(answers, device)
        # The first token follows the prompt, whose logits are known; the last one predicts nothing that we ask for.
        scores = token_log_probs(first_logits.expand(len(answers), -1), tokens[:, 0], 1.0)[0]
        if tokens.size(1) == 1:
            return scores
        cache = copy.deepcopy(prefilled)
        cache.batch_repeat_interleave(len(answers))
        after: Any = model(
            input_ids=tokens[:, :-1],
            attention_mask=torch.cat([real.new_ones(len(answers), len(prompt)), real[:, :-1]], dim=1),
            position_ids=len(prompt) + torch.arange(tokens.size(1) - 1, device=device).expand(len(answers), -1),
            past_key_values=cache,
            use_cache=True,
        )
        return scores + _sum(after.logits, tokens[:, 1:], real[:, 1:])

    return one_pass


def _in_full_rows(model: nn.Module, prompt: Sequence[int]) -> _Pass:
    """The pass runs rows of prompt and answer, without any cache."""
    device = next(model.parameters()).device

    def one_pass(answers: Sequence[Sequence[int]]) -> Tensor:
        tokens, real = _padded(answers, device)
        ids = torch.tensor(prompt, device=device).expand(len(answers), -1)
        output: Any = model(
            input_ids=torch.cat([ids, tokens], dim=1),
            attention_mask=torch.cat([torch.ones_like(ids), real], dim=1),
            use_cache=False,
            logits_to_keep=tokens.size(1) + 1,
        )
        return _sum(output.logits[:, -tokens.size(1) - 1 : -1], tokens, real)

    return one_pass


def _padded(answers: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Answers padded on the right, where no real token sees the padding (any id will do), and their mask."""
    width = max(map(len, answers))
    tokens = torch.tensor([[*answer, *[0] * (width - len(answer))] for answer in answers], device=device)
    real = torch.tensor([[1] * len(answer) + [0] * (width - len(answer)) for answer in answers], device=device)
    return tokens, real


def _sum(logits: Tensor, ids: Tensor, real: Tensor) -> Tensor:
    """Summed log-probability of each row's real ``ids`` under ``logits`` ``[rows, n, V]``."""
    log_probs = token_log_probs(logits, ids, 1.0)[0]
    return log_probs.masked_fill(real == 0, 0.0).sum(dim=1)

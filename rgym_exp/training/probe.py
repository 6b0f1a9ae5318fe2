"""What a model can do, found out by trying: a few short passes when it is loaded.

The packed training step and the shared prefill take a model apart further than its own forward does, and not every
family of models bears it: some crash, and some go on with wrong probabilities. So each is compared once with the plain
computation, every row by itself, and only used where the two agree.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rgym_exp.errors import ModelError
from rgym_exp.training.out_of_memory import is_out_of_memory
from rgym_exp.training.packing import enable_packing, pack_groups, packed_log_probs
from rgym_exp.training.sampling import evaluating, next_logits, prefill
from rgym_exp.training.token_log_probs import token_log_probs

TOLERANCE = 0.005
"""Nats by which a token's log-probability may differ: fp32 rounds to less, a wrong mask or a lost state to more."""

# Two prompts of unequal lengths, so that one is padded, and completions of unequal lengths.
_PROMPTS = (24, 17)
_COMPLETIONS = ((5, 3), (2, 4))
_GROUP_SIZE = 2


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """Which of the quick ways give what the plain computation gives, and why the others can't be taken."""

    packing_problem: str | None
    """Why the training step can't compute a group's prompt once (``packing.py``); None if it can."""
    prefill_problem: str | None
    """Why sampling can't compute a prompt once for all answers (``sampling.py``); None if it can."""
    padding_problem: str | None
    """What padded rows, which TRL's path takes, are off by; None if they aren't."""

    @property
    def packs(self) -> bool:
        """Whether the packed training step may be taken."""
        return self.packing_problem is None

    @property
    def shares_prefill(self) -> bool:
        """Whether the shared prefill may be taken."""
        return self.prefill_problem is None


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The probing batch: two groups of two."""

    prompts: list[list[int]]
    completions: list[list[int]]
    """``[N * G]``, the rows of a group together."""

    @classmethod
    def of(cls, ids: Sequence[int]) -> _Rows:
        """Rows of slices of ``ids``, which is repeated as often as it takes."""
        endless = itertools.cycle(ids)

        def take(count: int) -> list[int]:
            return list(itertools.islice(endless, count))

        return cls(
            prompts=[take(length) for length in _PROMPTS],
            completions=[take(length) for lengths in _COMPLETIONS for length in lengths],
        )


def probe(model: PreTrainedModel, name: str, ids: Sequence[int], pad: int) -> Abilities:
    """Try the model on the device that it is on, and leave it as it was.

    Args:
        model: with its weights in fp32, before TRL or anybody else has changed its forward.
        ids: token ids of some text; what it says does not matter.
        pad: the padding token's id.

    Raises:
        ModelError: it can't be trained at all.
    """
    rows = _Rows.of(ids)
    with evaluating(model):
        plain = _plain(model, name, rows)
        abilities = Abilities(
            packing_problem=_packing_problem(model, rows, pad, plain),
            prefill_problem=_problem(lambda: _prefilled(model, rows, pad), plain),
            padding_problem=_problem(lambda: _in_padded_rows(model, rows, pad), plain),
        )
        if not abilities.packs:
            _require_trls_step(model, name)
        if not abilities.shares_prefill:
            _require_generation(model, name, rows)
    return abilities


def _plain(model: PreTrainedModel, name: str, rows: _Rows) -> list[Tensor]:
    """Every row by itself, without padding or cache: log-probabilities ``[C_i]``; and once with its backward pass."""
    log_probs = []
    try:
        for index, completion in enumerate(rows.completions):
            prompt = rows.prompts[index // _GROUP_SIZE]
            ids = torch.tensor([[*prompt, *completion]], device=model.device)
            logits = model(input_ids=ids, use_cache=False).logits[:, len(prompt) - 1 : -1]
            row = token_log_probs(logits, ids[:, len(prompt) :], 1.0)[0].squeeze(0)
            if index == 0:
                row.sum().backward()
            log_probs.append(row.detach())
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(_untrainable(name, f"its forward or backward pass fails ({_described(error)})")) from error
    finally:
        model.zero_grad(set_to_none=True)
    if not all(bool(row.isfinite().all()) for row in log_probs):
        raise ModelError(_untrainable(name, "it gives probabilities that are not finite"))
    return log_probs


def _packed(model: PreTrainedModel, rows: _Rows, pad: int) -> list[Tensor]:
    ids, mask = _padded(model, rows, pad)
    packed = pack_groups(ids, mask, max(map(len, rows.completions)), _GROUP_SIZE)
    log_probs, _ = packed_log_probs(model, packed, 1.0)
    return [row[: len(completion)] for row, completion in zip(log_probs, rows.completions, strict=True)]


def _in_padded_rows(model: PreTrainedModel, rows: _Rows, pad: int) -> list[Tensor]:
    """As TRL's path computes a batch: every row whole, positions left to the model."""
    ids, mask = _padded(model, rows, pad)
    length = max(map(len, rows.completions))
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, -length - 1 : -1]
    log_probs = token_log_probs(logits, ids[:, -length:], 1.0)[0]
    return [row[: len(completion)] for row, completion in zip(log_probs, rows.completions, strict=True)]


def _padded(model: PreTrainedModel, rows: _Rows, pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask ``[N * G, P + C]``: prompts padded on the left, completions on the right."""
    width, length = max(map(len, rows.prompts)), max(map(len, rows.completions))
    ids, mask = [], []
    for index, completion in enumerate(rows.completions):
        prompt = rows.prompts[index // _GROUP_SIZE]
        left, right = width - len(prompt), length - len(completion)
        ids.append([pad] * left + prompt + completion + [pad] * right)
        mask.append([0] * left + [1] * (len(prompt) + len(completion)) + [0] * right)
    return torch.tensor(ids, device=model.device), torch.tensor(mask, device=model.device)


def _prefilled(model: PreTrainedModel, rows: _Rows, pad: int) -> list[Tensor]:
    """As ``sample_groups`` goes: step by step over the repeated cache, rows leaving the batch as they end."""
    logits, cache, mask = prefill(model, rows.prompts, _GROUP_SIZE, pad, model.device)
    found: list[list[Tensor]] = [[] for _ in rows.completions]
    live = list(range(len(rows.completions)))
    for step in itertools.count():
        ids = torch.tensor([rows.completions[row][step] for row in live], device=model.device)
        for row, value in zip(live, token_log_probs(logits, ids, 1.0)[0], strict=True):
            found[row].append(value)
        keep = [place for place, row in enumerate(live) if step + 1 < len(rows.completions[row])]
        if not keep:
            return [torch.stack(values) for values in found]
        index = torch.tensor(keep, device=model.device)
        if len(keep) < len(live):
            cache.batch_select_indices(index)
        live, mask = [live[place] for place in keep], mask[index]
        mask = torch.cat([mask, mask.new_ones(len(live), 1)], dim=1)
        logits = next_logits(model, ids[index].unsqueeze(1), mask, cache)
    raise AssertionError("completions end")


def _packing_problem(model: PreTrainedModel, rows: _Rows, pad: int, plain: list[Tensor]) -> str | None:
    """See ``_problem``."""
    implementation = model.config._attn_implementation
    if not enable_packing(model):
        return "needs layers that all attend to the whole context"
    try:
        return _problem(lambda: _packed(model, rows, pad), plain)
    finally:
        model.set_attn_implementation(implementation)


def _require_trls_step(model: PreTrainedModel, name: str) -> None:
    adapted: Any = model
    whole = adapted.get_base_model() if hasattr(model, "get_base_model") else adapted
    # TRL computes log-probabilities from the hidden states of the part below the output layer.
    if whole.base_model is whole or whole.get_output_embeddings() is None:
        raise ModelError(_untrainable(name, "its output layer does not stand apart from the rest of it"))


@torch.no_grad()
def _require_generation(model: PreTrainedModel, name: str, rows: _Rows) -> None:
    ids = torch.tensor(rows.prompts[:1], device=model.device)
    generate: Any = model.generate
    try:
        generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, do_sample=False)
    except Exception as error:  # Whatever a family of models raises here, no answer can be sampled.
        if is_out_of_memory(error):
            raise
        raise ModelError(_untrainable(name, f"it cannot generate ({_described(error)})")) from error


@torch.no_grad()
def _problem(run: Callable[[], list[Tensor]], plain: list[Tensor]) -> str | None:
    """Why this way can't be taken; None if it can."""
    try:
        worst = max(float((row - same).abs().max()) for row, same in zip(run(), plain, strict=True))
    except Exception as error:  # Whatever a family of models raises here, it says the same thing.
        if is_out_of_memory(error):
            raise
        return f"fails with it ({_described(error)})"
    # Written so that a NaN fails too.
    return None if worst <= TOLERANCE else f"computes other log-probabilities (by up to {worst:.2g})"


def _untrainable(name: str, why: str) -> str:
    return f"{name} cannot be trained here: {why}. Choose another model with MODEL_NAME or training.model_name."


def _described(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}: {first[:200]}"

"""Packing a group's shared prompt must change nothing but the time it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedModel
from trl.trainer.utils import add_fused_lm_head

from rgym_exp.training.packing import enable_packing, pack_groups, packed_log_probs

GROUPS, GROUP_SIZE, PROMPT, COMPLETION = 3, 4, 7, 5
TEMPERATURE = 0.8


@pytest.fixture
def model(tiny_model_folder: Path) -> PreTrainedModel:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    add_fused_lm_head(model, temperature=TEMPERATURE, outputs=("log_probs", "entropy"))
    assert enable_packing(model)
    return model


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and completion mask of groups with prompts and completions of unequal lengths."""
    torch.manual_seed(0)
    prompt_mask = torch.tensor([[0] * (PROMPT - n) + [1] * n for n in (7, 3, 5)]).repeat_interleave(GROUP_SIZE, 0)
    prompts = torch.randint(10, 200, (GROUPS, PROMPT)).repeat_interleave(GROUP_SIZE, 0) * prompt_mask
    lengths = torch.randint(1, COMPLETION + 1, (GROUPS * GROUP_SIZE,))
    lengths[0] = COMPLETION
    completion_mask = (torch.arange(COMPLETION)[None] < lengths[:, None]).long()
    completions = torch.randint(10, 200, (GROUPS * GROUP_SIZE, COMPLETION)) * completion_mask
    return (
        torch.cat([prompts, completions], dim=1),
        torch.cat([prompt_mask, completion_mask], dim=1),
        completion_mask,
    )


def trl_log_probs(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """As GRPOTrainer computes them: every row by itself, through its fused head."""
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-COMPLETION] = -100
    output = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    return output.log_probs[:, -COMPLETION:], output.entropy[:, -COMPLETION:]


def ours(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return packed_log_probs(model, pack_groups(ids, mask, COMPLETION, GROUP_SIZE), TEMPERATURE)


def test_log_probs_and_entropies_are_trls(model: PreTrainedModel, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    ids, mask, real = batch
    for packed, plain in zip(ours(model, ids, mask), trl_log_probs(model, ids, mask), strict=True):
        assert torch.allclose(packed * real, plain * real, atol=2e-5)


def test_gradients_are_trls(model: PreTrainedModel, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    ids, mask, real = batch
    gradients = []
    for compute in (ours, trl_log_probs):
        model.zero_grad()
        log_probs, _ = compute(model, ids, mask)
        (log_probs * real * torch.linspace(-1, 1, len(ids))[:, None]).sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name in gradients[0]:
        assert torch.allclose(gradients[0][name], gradients[1][name], atol=2e-5), name


def test_a_completion_does_not_see_its_neighbours(model: PreTrainedModel, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    ids, mask, real = batch
    before, _ = ours(model, ids, mask)
    changed = ids.clone()
    changed[1, PROMPT:] = 3
    after, _ = ours(model, changed, mask)
    others = [row for row in range(len(ids)) if row != 1]
    assert torch.allclose(before[others] * real[others], after[others] * real[others], atol=1e-6)
    assert not torch.allclose(before[1], after[1])


def test_under_bf16_autocast_packed_log_probs_differ_from_trls_by_rounding_only(
    model: PreTrainedModel, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    ids, mask, real = batch
    exact, _ = trl_log_probs(model, ids, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        packed, _ = ours(model, ids, mask)
        plain, _ = trl_log_probs(model, ids, mask)
    # bf16 has 8 bits of precision: both are off by as much, and neither by more than a few parts in a hundred.
    assert ((packed - exact) * real).abs().max() < 0.05
    assert ((plain - exact) * real).abs().max() < 0.05


def test_a_prepared_model_without_packed_rows_computes_what_it_always_did(
    model: PreTrainedModel, tiny_model_folder: Path, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    ids, mask, _ = batch
    untouched = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    prepared_logits = model(input_ids=ids, attention_mask=mask).logits
    assert torch.allclose(prepared_logits, untouched(input_ids=ids, attention_mask=mask).logits, atol=1e-6)


def test_a_model_with_sliding_windows_is_left_to_trl() -> None:
    config = MistralConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=4,
    )  # fmt: skip
    assert not enable_packing(MistralForCausalLM(config))

"""The memory plan, on sums that can be done by hand."""

from __future__ import annotations

import pytest
from transformers import Gemma3nTextConfig

from rgym_exp.training.memory_estimate import (
    MemoryPlan,
    NotEnoughMemory,
    Shape,
    bytes_per_group,
    fixed_bytes,
    plan_memory,
)

GIB = 1024**3

# One layer of width 1: easy to add up.
SHAPE = Shape(
    parameters=1000, trained_parameters=100, hidden_size=1, intermediate_size=2, layers=1, vocabulary=10,
    prompt_length=5, completion_length=3, groups=8, group_size=4, bf16=False, packed=False, reference=False,
)  # fmt: skip

OF_THE_MODEL = ("hidden_size", "intermediate_size", "layers", "vocabulary")


def large(**changes: int | bool) -> Shape:
    """Half a billion parameters, as a small Qwen has them."""
    chosen: dict = {
        "parameters": 500_000_000, "trained_parameters": 500_000_000, "hidden_size": 896, "intermediate_size": 4864,
        "layers": 24, "vocabulary": 151_936, "prompt_length": 200, "completion_length": 256, "groups": 8,
        "group_size": 8, "bf16": True, "packed": True, "reference": False,
    }  # fmt: skip
    return Shape(**{**chosen, **changes})


def plan(shape: Shape, gib: float, **changes: object) -> MemoryPlan:
    settings: dict = {"groups_at_once": None, "gradient_checkpointing": False, **changes}
    return plan_memory(shape, int(gib * GIB), **settings)


def test_weights_gradients_and_adams_moments_are_counted() -> None:
    # 1000 weights of 4 bytes; 100 of them trained, with a gradient and two moments of 4 bytes each.
    assert fixed_bytes(SHAPE) == 4000 + 1200


def test_a_reference_model_is_one_more_copy_of_the_weights() -> None:
    assert fixed_bytes(Shape(**{**vars(SHAPE), "reference": True})) - fixed_bytes(SHAPE) == 4000


def test_of_layers_of_several_widths_the_widest_counts() -> None:
    config = Gemma3nTextConfig(hidden_size=8, intermediate_size=[16, 32], num_hidden_layers=2)
    rest = {key: value for key, value in vars(SHAPE).items() if key not in OF_THE_MODEL}
    assert Shape.of(config, **rest).intermediate_size == 32


def test_a_packed_group_counts_its_prompt_once() -> None:
    rows = bytes_per_group(SHAPE, gradient_checkpointing=False)
    packed = bytes_per_group(Shape(**{**vars(SHAPE), "packed": True}), gradient_checkpointing=False)
    # 3 of the 4 prompts of 5 tokens go; a token keeps 10 x 1 + 4 x 2 = 18 numbers of 4 bytes.
    assert rows - packed == 3 * 5 * 18 * 4


def test_with_plenty_of_memory_all_groups_go_at_once() -> None:
    chosen = plan(large(), 500)
    assert chosen.groups_at_once == 8
    assert not chosen.gradient_checkpointing


def test_with_less_memory_fewer_groups_go_at_once() -> None:
    needed = plan(large(), 500).needed_bytes / GIB
    chosen = plan(large(), needed - 1)
    assert 1 <= chosen.groups_at_once < 8
    assert chosen.needed_bytes <= (needed - 1) * GIB


def test_gradient_checkpointing_comes_in_only_when_one_group_does_not_fit_without() -> None:
    one = fixed_bytes(large()) + bytes_per_group(large(), False) + GIB
    chosen = plan_memory(large(), one - 1, groups_at_once=None, gradient_checkpointing=False)
    assert chosen.gradient_checkpointing


def test_what_an_allocator_wastes_counts_as_needed_in_the_choice_and_in_the_refusal() -> None:
    needed = plan(large(), 500).needed_bytes
    assert plan(large(), 500, waste=1.25).needed_bytes == pytest.approx(1.25 * needed, rel=1e-6)
    assert plan(large(), needed / GIB, waste=1.25).groups_at_once < 8
    with pytest.raises(NotEnoughMemory):
        plan(large(trained_parameters=5_000_000), 8, waste=2.0)


def test_the_users_number_of_groups_is_kept() -> None:
    assert plan(large(), 500, groups_at_once=2).groups_at_once == 2


def test_a_model_that_cannot_fit_is_refused_with_what_to_change() -> None:
    with pytest.raises(NotEnoughMemory, match=r"needs about .* GiB .*4\.0 GiB are free.*training\.lora"):
        plan(large(), 4)


def test_lora_fits_where_full_training_does_not() -> None:
    assert plan(large(trained_parameters=5_000_000), 8).groups_at_once >= 1
    with pytest.raises(NotEnoughMemory):
        plan(large(), 8)

"""The memory preflight: what training will need, what is there, and which settings make it fit."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PretrainedConfig

from rgym_exp.errors import SwarmUserError

_GIB = 1024**3
# Left for Python, the peer-to-peer daemon, the scoring sandbox and what a GPU's allocator wastes.
_RESERVE_BYTES = 1 * _GIB
CPU_WASTE = 1.25
"""On a CPU a process takes so much for a byte that is used: malloc splits and keeps blocks, oneDNN keeps kernels. Seen
with SmolLM2-135M: 1.22 after 65 rounds with all groups at once, 1.16 after 32 with one. There an overestimate is the
smaller evil: no error tells that memory runs out, the kernel kills."""


class NotEnoughMemory(SwarmUserError):
    """No setting that we may choose makes this model fit."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of the model and the batch decides how much memory training takes."""

    parameters: int
    trained_parameters: int
    hidden_size: int
    intermediate_size: int
    layers: int
    vocabulary: int
    prompt_length: int
    """Tokens of the longest of some typical prompts."""
    completion_length: int
    groups: int
    """Groups a step."""
    group_size: int
    """G."""
    bf16: bool
    packed: bool
    """Whether a group's prompt is computed once."""
    reference: bool
    """Whether a copy of the starting model is kept, for the KL term."""

    @classmethod
    def of(cls, config: PretrainedConfig, **rest: int | bool) -> Shape:
        """Take the model's part from its configuration."""
        text = config.get_text_config()
        # Some families list a size for every layer (Gemma 3n), some name none (GPT-2, Mamba).
        wide = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
        return cls(
            hidden_size=text.hidden_size,
            intermediate_size=max(wide) if isinstance(wide, list | tuple) else wide,
            layers=text.num_hidden_layers,
            vocabulary=text.vocab_size,
            **rest,  # type: ignore[arg-type]
        )


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Settings that fit, and the sums behind them."""

    groups_at_once: int
    gradient_checkpointing: bool
    needed_bytes: int
    free_bytes: int

    def __str__(self) -> str:
        smaller = " with gradient checkpointing" if self.gradient_checkpointing else ""
        return (
            f"memory: about {self.needed_bytes / _GIB:.1f} GiB needed, {self.free_bytes / _GIB:.1f} GiB free; "
            f"{self.groups_at_once} group(s) at once{smaller}"
        )


def fixed_bytes(shape: Shape) -> int:
    """Weights, the bf16 copy that generates, the reference model, gradients and AdamW's two moments."""
    copies = (2 if shape.bf16 else 0) + (4 if shape.reference else 0)
    weights = (4 + copies) * shape.parameters
    return weights + 12 * shape.trained_parameters


def bytes_per_group(shape: Shape, gradient_checkpointing: bool) -> int:
    """Activations and logits of one group's forward and backward pass."""
    prompts = 1 if shape.packed else shape.group_size
    tokens = prompts * shape.prompt_length + shape.group_size * shape.completion_length
    width = 2 if shape.bf16 else 4
    # Saved for the backward pass: about 10 hidden-sized and 4 MLP-sized tensors a layer (counted in transformers'
    # Llama and Qwen2 blocks); with checkpointing only each layer's input.
    saved = shape.hidden_size if gradient_checkpointing else 10 * shape.hidden_size + 4 * shape.intermediate_size
    # The logits and their gradient; what is computed from them goes chunk by chunk (token_log_probs.py).
    logits = 2 * shape.group_size * shape.completion_length * shape.vocabulary * width
    return tokens * shape.layers * saved * width + logits


def plan_memory(
    shape: Shape,
    free_bytes: int,
    *,
    groups_at_once: int | None,
    gradient_checkpointing: bool,
    waste: float = 1.0,
) -> MemoryPlan:
    """Choose how many groups go through the model at once, and checkpoint gradients where that alone does not fit.

    Args:
        groups_at_once: the user's choice, kept; None to choose.
        waste: bytes taken for a byte that is used.

    Raises:
        NotEnoughMemory: one group at a time does not fit either.
    """

    def needed(count: int, checkpointing: bool) -> int:
        return int(waste * (fixed_bytes(shape) + count * bytes_per_group(shape, checkpointing) + _RESERVE_BYTES))

    choices = [groups_at_once] if groups_at_once else list(range(shape.groups, 0, -1))
    for checkpointing in (True,) if gradient_checkpointing else (False, True):
        for count in choices:
            if needed(count, checkpointing) <= free_bytes:
                return MemoryPlan(
                    groups_at_once=count,
                    gradient_checkpointing=checkpointing,
                    needed_bytes=needed(count, checkpointing),
                    free_bytes=free_bytes,
                )
    raise NotEnoughMemory(
        f"This model needs about {needed(1, True) / _GIB:.1f} GiB to train and {free_bytes / _GIB:.1f} GiB are free. "
        "Choose a smaller model (MODEL_NAME), set training.lora=true, lower training.max_completion_length or "
        "training.num_generations, or free some memory."
    )

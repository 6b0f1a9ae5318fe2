"""Which model, and loading it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rgym_exp.errors import ModelError
from rgym_exp.training.bundled import BUNDLED_MODEL, bundled_model_folder
from rgym_exp.training.finite import is_finite
from rgym_exp.training.load_errors import check_loaded, load_error

logger = logging.getLogger("rl_swarm.training")


def choose_model(wanted: str, network_default: str, pool: Sequence[str], peer_id: str) -> str:
    """The model's name: the one asked for, the network's, or one of the pool by peer id (the same one every time).

    Raises:
        ModelError: nothing names a model and the pool is empty.
    """
    for name in (wanted, network_default):
        if name != "auto":
            return name
    if not pool:
        raise ModelError("No model is named and the model pool is empty. Set MODEL_NAME or training.model_name.")
    return pool[int.from_bytes(hashlib.sha256(peer_id.encode()).digest()[:8], "big") % len(pool)]


def load_model(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model with fp32 weights, and its tokenizer.

    Raises:
        ModelError: it does not exist, cannot be reached, is damaged, holds numbers that aren't finite, or can't be
            asked and trained.
    """
    place = str(bundled_model_folder()) if name == BUNDLED_MODEL else name
    try:
        # Without a word on remote code transformers asks at the terminal, for which nobody may be there.
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        # Master weights stay in fp32: bf16 has too few digits for updates of a millionth.
        model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, trust_remote_code=False)
    except Exception as error:  # Each library below has classes of its own; all of it is about this one model.
        raise load_error(name, error) from error
    _refuse_what_is_not_finite(name, model)
    if tokenizer.chat_template is None:
        raise ModelError(f"{name} has no chat template, so it cannot be asked questions. Choose an instruct model.")
    if tokenizer.eos_token is None and (ends := eos_token_ids(model, tokenizer)):
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ends[0])
    check_loaded(name, model, tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def _refuse_what_is_not_finite(name: str, model: PreTrainedModel) -> None:
    for weight, numbers in model.named_parameters():
        if not is_finite([numbers]):
            raise ModelError(
                f"{name} holds numbers that are not finite ({weight}): it was damaged, or spoilt in training. Use "
                "another copy of it, or another model."
            )


def eos_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Every id that ends an answer: the tokenizer's, and those of the model's generation config."""
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    listed = configured if isinstance(configured, list) else [configured]
    return tuple(sorted({int(i) for i in [tokenizer.eos_token_id, *listed] if i is not None}))


def with_lora(model: PreTrainedModel, rank: int) -> PreTrainedModel:
    """Freeze the model and add low-rank adapters to every linear layer (LoRA, arXiv 2106.09685)."""
    from peft import LoraConfig, get_peft_model

    adapters = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted: Any = get_peft_model(model, adapters)
    # Left to itself, peft asks the model hub at every save whether the vocabulary has grown. Ours never does.
    adapted.save_pretrained = partial(adapted.save_pretrained, save_embedding_layers=False)
    return cast(PreTrainedModel, adapted)

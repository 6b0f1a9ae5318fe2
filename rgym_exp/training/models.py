"""Which model, and loading it."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rgym_exp.base.http_client import socks_proxy_variable
from rgym_exp.errors import SwarmUserError
from rgym_exp.training.bundled import BUNDLED_MODEL, bundled_model_folder

logger = logging.getLogger("rl_swarm.training")


class ModelError(SwarmUserError):
    """The model cannot be had or cannot be trained here."""


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
        ModelError: it does not exist, cannot be reached, or has no chat template.
    """
    place = str(bundled_model_folder()) if name == BUNDLED_MODEL else name
    try:
        tokenizer = AutoTokenizer.from_pretrained(place)
        # Master weights stay in fp32: bf16 has too few digits for updates of a millionth.
        model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(_why_not(name, error)) from error
    if tokenizer.chat_template is None:
        raise ModelError(f"{name} has no chat template, so it cannot be asked questions. Choose an instruct model.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def _why_not(name: str, error: Exception) -> str:
    if Path(name).exists():
        return f"{name} is a folder, but not one with a model that transformers can load ({_first_line(error)})."
    if variable := socks_proxy_variable(os.environ):
        return (
            f"The model {name} could not be fetched: {variable} names a SOCKS proxy, and the model hub can be asked "
            f"through an HTTP proxy only. Set HTTPS_PROXY to one and unset {variable}, fetch the model elsewhere and "
            f"give its folder, or use {BUNDLED_MODEL}, which needs no hub."
        )
    return (
        f"The model {name} could not be loaded ({_first_line(error)}). Check the name, the connection to the model hub "
        f"(HF_ENDPOINT, proxy variables), and HF_TOKEN if it is gated; or use {BUNDLED_MODEL}, which needs no hub."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


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

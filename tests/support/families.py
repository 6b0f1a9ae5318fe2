"""Families of language models, tiny and random: the structure of each, with some 30 thousand weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.tiny_model import save_tiny_model

_COMMON: Mapping[str, Any] = {
    "vocab_size": 264, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256,
    "bos_token_id": 257, "eos_token_id": 258, "pad_token_id": 256,
    # Large enough for a lost state or a wrong mask to show in the probabilities.
    "initializer_range": 0.1,
}  # fmt: skip
_GPT: Mapping[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
_EXPERTS: Mapping[str, Any] = {
    "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
}  # fmt: skip
_LINEAR: Mapping[str, Any] = {
    "layer_types": ["linear_attention", "full_attention"], "linear_num_value_heads": 4, "linear_num_key_heads": 2,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8,
}  # fmt: skip
_MAMBA: Mapping[str, Any] = {
    "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_expand": 2,
    "mamba_d_ssm": 64,
}  # fmt: skip
# Shorter than any prompt, so that a window that is not kept shows.
_WINDOW: Mapping[str, Any] = {"sliding_window": 8}
_HALF_WINDOW: Mapping[str, Any] = {**_WINDOW, "layer_types": ["sliding_attention", "full_attention"]}

FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "bamba": {**_MAMBA, "attn_layer_indices": [1]},
    "falcon_h1": _MAMBA,
    "gemma": {},
    "gemma2": _HALF_WINDOW,
    "gemma3_text": _HALF_WINDOW,
    "glm4": {},
    "gpt2": _GPT,
    "gpt_neo": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 8},
    "gpt_oss": {**_EXPERTS, **_HALF_WINDOW},
    "granite": {},
    "granitemoehybrid": {**_EXPERTS, **_MAMBA, "layer_types": ["mamba", "attention"]},
    "jamba": {
        "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
        "num_experts": 4, "use_mamba_kernels": False,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8},
    "llama": {},
    "llama4_text": {**_EXPERTS, "intermediate_size_mlp": 64},
    "mamba": {"state_size": 8},
    "minimax": {**_EXPERTS, "layer_types": ["linear_attention", "full_attention"], "block_size": 8},
    "mistral": _WINDOW,
    "mixtral": _EXPERTS,
    "nemotron": {},
    "nemotron_h": {
        "hybrid_override_pattern": "M*-M", "num_hidden_layers": 4, "mamba_num_heads": 4, "mamba_head_dim": 16,
        "ssm_state_size": 8, "n_groups": 1, "chunk_size": 8,
    },
    "olmo2": {},
    "olmo_hybrid": _LINEAR,
    "phi3": {},
    "qwen2": {},
    "qwen3": {},
    "qwen3_5_text": _LINEAR,
    "qwen3_moe": _EXPERTS,
    "qwen3_next": {**_EXPERTS, **_LINEAR},
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 8},
    "rwkv": {"attention_hidden_size": 32, "context_length": 256},
    "smollm3": {},
    "zamba2": {
        "num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "mamba_ngroups": 1,
        "n_mamba_heads": 4, "mamba_headdim": 16, "mamba_d_state": 8, "num_mem_blocks": 1, "chunk_size": 8,
        "adapter_rank": 4,
    },
}  # fmt: skip
"""By transformers' name of the model type: what its configuration has besides the common sizes."""


def save_family(name: str, folder: Path) -> Path:
    """Write a random model of this family, and the tiny model's tokenizer, into ``folder``.

    The weights are the same every time; the caller's random state stays as it was.
    """
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    save_tiny_model(folder)
    config = CONFIG_MAPPING[name](**{**_COMMON, **FAMILIES[name]})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder

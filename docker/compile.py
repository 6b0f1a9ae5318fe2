"""Compile what a run imports, by importing it: all of the environment would be 400 MB of bytecode, most never used."""

import importlib

LIBRARIES = """
accelerate aiohttp aiohttp.web base58 cryptography.hazmat.primitives.asymmetric.rsa datasets eth_account gguf
hivemind.dht.node hivemind.p2p hydra.core.override_parser.overrides_parser msgpack omegaconf peft psutil reasoning_gym
requests rich.live safetensors.torch torch torch.utils.checkpoint transformers transformers.modeling_gguf_pytorch_utils
transformers.models.llama.modeling_llama transformers.models.qwen2.modeling_qwen2
transformers.models.qwen3.modeling_qwen3 trl.trainer.grpo_trainer uvloop web3 yaml zstandard
"""

for library in LIBRARIES.split():
    importlib.import_module(library)

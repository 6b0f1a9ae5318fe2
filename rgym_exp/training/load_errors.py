"""What libraries raise when a model can't be loaded, in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rgym_exp.errors import ModelError
from rgym_exp.training.model_place import behind_socks, could_not_be_loaded
from rgym_exp.training.out_of_memory import is_out_of_memory

_LFS_POINTER = b"version https://git-lfs"
_WEIGHTS = ("*.safetensors", "*.bin")


def load_error(name: str, error: Exception) -> ModelError:
    """The sentence for what ``from_pretrained`` raised.

    Args:
        name: as the user knows the model.
    """
    folder = Path(name)
    if pointer := _lfs_pointer(folder):
        return ModelError(
            f"{pointer} is no weights file but a Git LFS pointer to one. Run `git lfs pull` in {folder}, or name the "
            "model by its Hub name."
        )
    if not folder.exists() and (socks := behind_socks(name)) is not None:
        return socks
    said = f"{type(error).__name__}: {first_line(error)}"
    if isinstance(error, ImportError):
        return ModelError(
            f"{name} needs a package that is not installed ({first_line(error)}). If its weights are quantised "
            "(bitsandbytes, GPTQ, AWQ), they can't be trained: choose the model without quantisation."
        )
    if is_out_of_memory(error):
        return ModelError(f"{name} does not fit into the memory that is free ({said}). Choose a smaller model.")
    if isinstance(error, OSError | ValueError) and not folder.exists():
        return could_not_be_loaded(name, first_line(error))
    if type(error).__name__ == "SafetensorError":
        return ModelError(f"The weights of {name} are damaged or cut short ({said}). Fetch them anew.")
    if isinstance(error, RuntimeError):
        return ModelError(
            f"The weights of {name} do not fit its configuration ({said}). Its files are of different models, or "
            "damaged: fetch it anew."
        )
    what = "is a folder, but not one with a model that transformers can load" if folder.exists() else "can't be loaded"
    return ModelError(f"{name} {what} ({first_line(error) if isinstance(error, OSError | ValueError) else said}).")


def check_loaded(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Look for what would break in the first round.

    Raises:
        ModelError: weights that can't be trained, or a tokenizer of another model.
    """
    if not all(weight.is_floating_point() for weight in model.parameters()):
        raise ModelError(
            f"The weights of {name} are quantised, so they can't be trained. Choose the model without quantisation."
        )
    if tokenizer.eos_token is None:
        raise ModelError(
            f"The tokenizer of {name} names no token that ends an answer (eos_token), so no answer would end. "
            "Add it to its tokenizer_config.json, or choose another model."
        )
    embeddings: Any = model.get_input_embeddings()
    embedded = int(embeddings.weight.size(0))
    # Added tokens that no text is split into may lie beyond; those that begin and end an answer are used.
    ordinary = set(tokenizer.get_vocab().values()) - set(tokenizer.added_tokens_decoder)
    highest = max([*ordinary, tokenizer.eos_token_id, tokenizer.pad_token_id or 0])
    if highest >= embedded:
        raise ModelError(
            f"The tokenizer of {name} counts its tokens up to {highest} and the model has {embedded}: they don't "
            "belong together. Fetch both from the same place."
        )


def first_line(error: Exception) -> str:
    """The first line of its message, without a full stop; its class's name without a message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _lfs_pointer(folder: Path) -> Path | None:
    files = [file for pattern in _WEIGHTS for file in folder.glob(pattern)] if folder.is_dir() else []
    return next((file for file in files if _begins(file, _LFS_POINTER)), None)


def _begins(file: Path, words: bytes) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(words)) == words
    except OSError:
        return False

"""Whether a checkpoint can be resumed from: found out before the Trainer, half done, trips over a file of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers.trainer_pt_utils import safe_globals

from rgym_exp.training.finite import is_finite

_OPTIMIZER = "optimizer.pt"
# What the Trainer reads besides; those that are missing it does without.
_TORCH_FILES = ("scheduler.pt", "rng_state.pth")
_NEEDED_JSON, _MORE_JSON = "trainer_state.json", ("config.json", "adapter_config.json")


def problem_with(folder: Path, model: nn.Module) -> str | None:
    """What keeps this model from going on from the checkpoint in ``folder``, in a few words; None for nothing.

    Every file is read and compared with the model, whose weights stay as they are.
    """
    try:
        for name in (_NEEDED_JSON, *(name for name in _MORE_JSON if (folder / name).exists())):
            with _named(name):
                json.loads((folder / name).read_text(encoding="utf-8"))
        _check_weights(folder, model)
        _check_optimizer(folder / _OPTIMIZER, model)
        for name in _TORCH_FILES:
            if (folder / name).exists():
                _load(folder / name)
    except _Unusable as unusable:
        return str(unusable)
    return None


class _Unusable(Exception):
    """Why a checkpoint can't be used."""


class _named:
    """Errors of reading a file, as one that names the file."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # What a file that is cut short or not there looks like to Python, to safetensors and to torch.
        if isinstance(error, (OSError, ValueError, EOFError, RuntimeError, KeyError, SafetensorError, UnpicklingError)):
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise _Unusable(f"{self._name}: {line}") from error


def _check_weights(folder: Path, model: nn.Module) -> None:
    wanted = _saved_weights(model)
    found: set[str] = set()
    for file in _weight_files(folder, adapter=isinstance(model, PeftModel)):
        with _named(file.name), safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no dictionary
                weight = weights.get_tensor(name)
                if name not in wanted or wanted[name].shape != weight.shape:
                    raise _Unusable(f"{file.name}: {name} {list(weight.shape)} doesn't fit the model")
                if not is_finite([weight]):
                    raise _Unusable(f"{file.name}: {name} holds numbers that aren't finite")
                found.add(name)
    # Weights that are one and the same are saved under one of their names.
    there = {wanted[name].data_ptr() for name in found}
    missing = [name for name, weight in wanted.items() if name not in found and weight.data_ptr() not in there]
    if missing:
        raise _Unusable(f"{missing[0]} of the model isn't in it")


def _saved_weights(model: nn.Module) -> Mapping[str, Tensor]:
    if isinstance(model, PeftModel):
        return dict(get_peft_model_state_dict(model, save_embedding_layers=False))
    return model.state_dict()


def _weight_files(folder: Path, *, adapter: bool) -> list[Path]:
    whole = folder / ("adapter_model.safetensors" if adapter else "model.safetensors")
    index = folder / "model.safetensors.index.json"
    if adapter or whole.exists() or not index.exists():
        return [whole]
    with _named(index.name):
        return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]


def _check_optimizer(path: Path, model: nn.Module) -> None:
    if not path.exists():
        return
    state = _load(path)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    with _named(path.name):
        known = sum(len(group["params"]) for group in state["param_groups"])
        moments = list(state["state"].values())
    if known != len(trained):
        raise _Unusable(f"{path.name}: it is of {known} weights, and the model has {len(trained)}")
    shapes = Counter(tuple(moment["exp_avg"].shape) for moment in moments if "exp_avg" in moment)
    if shapes - Counter(tuple(weight.shape) for weight in trained):
        raise _Unusable(f"{path.name}: its weights have other shapes than the model's")
    if not is_finite(_tensors(moments)):
        raise _Unusable(f"{path.name}: it holds numbers that aren't finite")


def _tensors(moments: list[dict[str, Any]]) -> Iterator[Tensor]:
    for moment in moments:
        yield from (value for value in moment.values() if isinstance(value, Tensor))


def _load(path: Path) -> Any:
    with _named(path.name), safe_globals():
        # Mapped, so that a large optimizer isn't in memory twice.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)

"""Names on the Hugging Face Hub: the repository of a node's model, and the base model it came from."""

from __future__ import annotations

import re
from pathlib import Path

from rgym_exp.training.bundled import BUNDLED_MODEL

# The Hub's own rules (huggingface_hub.utils.validate_repo_id): letters, digits, "-", "_" and "."; no "--" and "..";
# neither first nor last a "-" or "."; at most 96 characters, of which we take the owner's name to be a part.
_LONGEST = 96
_FORBIDDEN = re.compile(r"[^A-Za-z0-9._-]+")
_USER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,40}[A-Za-z0-9])?")
_HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", re.ASCII)

_BUNDLED_ON_THE_HUB = f"HuggingFaceTB/{BUNDLED_MODEL}"


def is_user_name(text: object) -> bool:
    """Whether the Hub could have given this name to somebody."""
    return isinstance(text, str) and _USER.fullmatch(text) is not None and "--" not in text and ".." not in text


def repo_name(model_name: str, animal_name: str, *, user: str = "") -> str:
    """The repository's name without its owner: ``<model>-Gensyn-Swarm-<animal_name>``, as earlier swarms named theirs.

    The model is the last part of its name or path, shortened where all of it, with ``user``, would be too long.

    Example: ``repo_name("Qwen/Qwen3-0.6B", "quiet amber otter") == "Qwen3-0.6B-Gensyn-Swarm-quiet_amber_otter"``
    """
    animal = _allowed("_".join(animal_name.split())) or "peer"
    ending = f"-Gensyn-Swarm-{animal}"
    room = _LONGEST - len(ending) - len(user) - 1
    model = _allowed(_last_part(model_name)) or "model"
    return _allowed(model[: max(room, 1)]) + ending


def base_model_on_the_hub(model_name: str) -> str | None:
    """The base model's id on the Hub; None when it came from a folder."""
    if model_name == BUNDLED_MODEL:
        return _BUNDLED_ON_THE_HUB
    if Path(model_name).exists() or not _HUB_ID.fullmatch(model_name):
        return None
    return model_name


def base_model_to_show(model_name: str) -> str:
    """The base model for people to read, without the folders of this machine."""
    return base_model_on_the_hub(model_name) or _last_part(model_name)


def published_name(model_name: str) -> str:
    """What the swarm and its judge are told that this node trains: a folder's name, never where it lies."""
    return model_name if base_model_on_the_hub(model_name) else _last_part(model_name)


def _last_part(name: str) -> str:
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1]


def _allowed(text: str) -> str:
    text = re.sub(r"-{2,}", "-", _FORBIDDEN.sub("-", text))
    return re.sub(r"\.{2,}", ".", text).strip("-._")

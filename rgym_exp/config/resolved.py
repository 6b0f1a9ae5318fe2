"""Saving what a run resolved to, without secrets: the file that people attach to a question."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from rgym_exp.base.files import atomic_write
from rgym_exp.config.environment import secrets_in
from rgym_exp.config.schema import Config

HIDDEN = "(not saved)"

_SECRET_KEY = re.compile(r"token|secret|password|passphrase|api_?key|private_?key|credential", re.IGNORECASE)
_URL = re.compile(r"^(https?|wss?)://", re.IGNORECASE)
# RPC providers put the key into the path (/v2/<key>) or the query; 20 letters and digits are no word.
_KEY_IN_PATH = re.compile(r"(?<=/)(?=[^/?#]*\d)[A-Za-z0-9_-]{20,}(?=$|[/?#])")


def save_resolved(config: Config, path: Path, *, environ: Mapping[str, str] = os.environ) -> None:
    """Write ``config`` as YAML to ``path``; secrets and keys inside addresses are left out.

    Raises:
        OSError: the file can't be written.
    """
    text = yaml.safe_dump(without_secrets(asdict(config), secrets_in(environ)), sort_keys=False, allow_unicode=True)
    atomic_write(path, f"# What the last run resolved to. Edit configs/rg-swarm.yaml instead.\n{text}".encode())


def without_secrets(value: Any, secrets: Sequence[str] = ()) -> Any:
    """A copy of plain nested values in which nothing secret is left.

    Hidden are: values under keys that speak of tokens, passwords and the like; texts that hold one of ``secrets``; and
    user names, queries and long key-like parts of addresses.
    """
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if inner and _SECRET_KEY.search(str(key)) and isinstance(inner, str)
            else without_secrets(inner, secrets)
            for key, inner in value.items()
        }  # fmt: skip
    if isinstance(value, (list, tuple)):
        return [without_secrets(inner, secrets) for inner in value]
    if isinstance(value, str):
        return _clean(value, secrets)
    return value


def _clean(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    if _URL.match(text):
        text = re.sub(r"(?<=//)[^/@]*@", "", text)
        text = re.sub(r"\?[^#]*", "", text)
        text = _KEY_IN_PATH.sub(HIDDEN, text)
    return text

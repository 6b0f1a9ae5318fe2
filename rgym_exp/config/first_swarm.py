"""Users of the first RL Swarm: what their launcher left in configs/, and the variables that it listened to.

Its launcher copied a template to ``configs/rg-swarm.yaml`` for everybody, so the file says nothing of its user unless
it was edited. ``first_templates.json`` has the digests of these templates, and every value that they gave each key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from rgym_exp.aliases import FIRST_SWARM_KEYS, FIRST_SWARM_REPLACED, FIRST_SWARM_VARIABLES

_TEMPLATES = Path(__file__).parent / "first_templates.json"


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """What becomes of a file of the first RL Swarm."""

    content: str
    """The template of this version, with the values that were carried over."""
    carried: tuple[str, ...]
    """One phrase each, e.g. ``training.max_round is now training.max_rounds (50)``."""
    left: tuple[str, ...]
    """One phrase for each key that was changed and can't be carried over, with what replaces it."""


def is_first_swarms(mapping: Mapping[str, Any]) -> bool:
    """Whether a parsed configuration is one of the first RL Swarm: its main section has no counterpart here."""
    return "game_manager" in mapping


def is_untouched(content: bytes) -> bool:
    """Whether this is one of its templates, as it was copied."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest() in _templates()["sha256"]


def renewed(mapping: Mapping[str, Any], template: str) -> Renewal:
    """This version's template with what somebody changed in a file of the first RL Swarm."""
    carried: dict[str, str] = {}
    left: list[str] = []
    for name, value in _leaves(mapping, ""):
        if value in _templates()["values"].get(name, ()) or (isinstance(value, str) and "${" in value):
            continue
        new = FIRST_SWARM_KEYS.get(name)
        filled = _with_value(template, new, value) if new else None
        if filled is None:
            left.append(f"{name} ({FIRST_SWARM_REPLACED.get(name) or new or 'nothing like it here'})")
            continue
        template = filled
        called = name if name == new else f"{name} as {new}"
        carried[name] = f"{called} ({_in_yaml(value)})"
    return Renewal(content=template, carried=tuple(carried.values()), left=tuple(left))


def note_on_variables(environ: Mapping[str, str]) -> list[str]:
    """One sentence that names the variables of the first RL Swarm that are set and mean nothing here."""
    found = [f"{name} ({instead})" for name, instead in FIRST_SWARM_VARIABLES.items() if environ.get(name, "").strip()]
    return [f"Variables of an earlier RL Swarm that mean nothing here: {', '.join(found)}."] if found else []


@cache
def _templates() -> dict[str, Any]:
    found = json.loads(_TEMPLATES.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise AssertionError("first_templates.json is a mapping")
    return found


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Dotted names and values; what lies in a list of mappings is named by its place."""
    if isinstance(value, Mapping):
        for key, deeper in value.items():
            yield from _leaves(deeper, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for place, deeper in enumerate(value):
            yield from _leaves(deeper, f"{name}.{place}")
    else:
        yield name, value


def _with_value(template: str, name: str, value: Any) -> str | None:
    """The template with another value at a key, its comments kept; None where the key can't be found in it."""
    section, _, key = name.rpartition(".")
    begin = template.index(f"\n{section}:\n") + 1 if section else 0
    indent = "  " if section else ""
    # With the lines of a list that follow it.
    found = re.compile(rf"^{indent}{re.escape(key)}:.*\n(?:{indent}  - .*\n)*", re.MULTILINE).search(template, begin)
    if found is None:
        return None
    return f"{template[: found.start()]}{indent}{key}: {_in_yaml(value)}\n{template[found.end() :]}"


def _in_yaml(value: Any) -> str:
    """On one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).splitlines()[0]

"""The keys that a configuration can have, as dotted names, with their defaults and what they accept."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from rgym_exp.config.schema import Config


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of the schema."""

    name: str
    """Dotted, e.g. ``training.num_generations``."""
    default: Any
    accepts: str
    """What may stand there, in words that end a sentence: "a whole number or null"."""
    seam: bool
    """Whether a mapping with ``_target_`` may stand there: a place where a component can be swapped."""


@cache
def schema_keys() -> Mapping[str, Key]:
    """Every key of the schema by its dotted name, in the schema's order."""
    found: dict[str, Key] = {}
    _collect(Config(), "", found)
    return types.MappingProxyType(found)


@cache
def sections() -> frozenset[str]:
    """Names that hold keys rather than a value, e.g. ``training``."""
    return frozenset(name.rpartition(".")[0] for name in schema_keys()) - {""}


def owner_of(name: str) -> Key | None:
    """The key that ``name`` is, or lies inside of (``tracker.project``, ``communications.bootnodes.0``)."""
    keys = schema_keys()
    while name:
        if name in keys:
            return keys[name]
        name = name.rpartition(".")[0]
    return None


def nearest(name: str) -> str:
    """A hint that names the key somebody most likely meant, as a sentence that starts with a space; "" without one."""
    known = [*schema_keys(), *sections()]
    # A right name in the wrong section is the likelier slip than a similar name in the right one. Sections are no part
    # of the likeness: two keys of one section have most of their letters in common.
    section, _, last = name.rpartition(".")
    places = {key: key.rpartition(".") for key in known}
    close = [key for key in known if places[key][2] == last]
    close = close or _alike(last, {key: own for key, (where, _, own) in places.items() if where == section}, 0.6)
    close = close or _alike(last, {key: own for key, (_, _, own) in places.items()}, 0.7)
    return f" Did you mean {close[0]}?" if close else ""


def _alike(word: str, names: Mapping[str, str], cutoff: float) -> list[str]:
    """The keys whose own names are like ``word``, the nearest first."""
    alike = difflib.get_close_matches(word, list(names.values()), n=1, cutoff=cutoff)
    return [key for key, own in names.items() if own in alike]


def _collect(section: Any, prefix: str, found: dict[str, Key]) -> None:
    hints = get_type_hints(type(section))
    for item in fields(section):
        name, value = prefix + item.name, getattr(section, item.name)
        if is_dataclass(value):
            _collect(value, f"{name}.", found)
        else:
            hint = hints[item.name]
            found[name] = Key(name=name, default=value, accepts=_in_words(hint), seam=hint is Any)


def _in_words(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join("null" if arm is type(None) else _in_words(arm) for arm in get_args(hint))
    if get_origin(hint) is list:
        return "a list of texts"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words.get(hint, "a name or a mapping with _target_")

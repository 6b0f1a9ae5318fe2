"""A setting is one key with its new value and where that was said; layers of them make a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rgym_exp.aliases import CONFIG_KEYS, FIRST_SWARM_KEYS, FIRST_SWARM_REPLACED, REMOVED_KEYS
from rgym_exp.config.keys import nearest, owner_of, schema_keys, sections


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One value that somebody chose."""

    name: str
    """Dotted; may lie inside a key that holds a list or a mapping, e.g. ``tracker.project``."""
    value: Any
    """As read: plain Python values, perhaps with OmegaConf interpolations such as ``${training.seed}``."""
    origin: str
    """Where it was said, as a person would look for it: "configs/rg-swarm.yaml line 12"."""
    old_name: str | None = None
    """The name of the version before, where that one was used."""


def settings_from(
    mapping: Mapping[Any, Any], origin: str, *, prefix: str = "", lines: Mapping[str, int] | None = None
) -> tuple[list[Setting], list[str]]:
    """Flatten nested sections into settings; what is no key of the schema comes back as a list of sentences.

    Args:
        mapping: a parsed file, or the value of an override such as ``training={lora: true}``.
        prefix: the section that ``mapping`` is, with a dot at the end; "" for the whole configuration.
        lines: line number of each dotted name, where there is a file.
    """
    found: list[Setting] = []
    problems: list[str] = []
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        where = f"{origin} line {lines[name]}" if lines and name in lines else origin
        if name in schema_keys():
            found.append(Setting(name=name, value=value, origin=where))
        elif name in CONFIG_KEYS and CONFIG_KEYS[name].removeprefix(prefix) in mapping:
            problems.append(f"{where}: {name} is the old name of {CONFIG_KEYS[name]}, which is there too. Keep one.")
        elif name in CONFIG_KEYS:
            found.append(Setting(name=CONFIG_KEYS[name], value=value, origin=where, old_name=name))
        elif name in REMOVED_KEYS and value == REMOVED_KEYS[name][0]:
            continue  # As the template of the version before had it: nothing was asked for.
        elif name not in sections():
            problems.append(unknown_key(name, where))
        elif isinstance(value, Mapping):
            deeper, wrong = settings_from(value, origin, prefix=f"{name}.", lines=lines)
            found += deeper
            problems += wrong
        elif value is not None:  # A section whose keys are all commented out reads as null.
            problems.append(f"{where}: {name} is a section and takes keys, not {shown(value)}.")
    return found, problems


def note_on_old_names(settings: Iterable[Setting]) -> list[str]:
    """One sentence that gives the new name of every key that was called by its old one; nothing without such."""
    renamed = [f"{each.old_name} is now {each.name} ({each.origin})" for each in settings if each.old_name]
    return (
        [f"Names of the version before, which only this version still reads: {', '.join(renamed)}."] if renamed else []
    )


def literal(value: Any) -> Any:
    """``value`` such that nothing in it is taken for a reference (``${...}``), whatever characters it has."""
    if isinstance(value, (list, tuple)):
        return [literal(item) for item in value]
    return value.replace("${", r"\${") if isinstance(value, str) else value


def unknown_key(name: str, where: str) -> str:
    """The sentence about a key that doesn't exist."""
    if instead := FIRST_SWARM_KEYS.get(name) or FIRST_SWARM_REPLACED.get(name):
        return f"{where}: {name} is a key of an earlier RL Swarm. Here it is {instead}."
    if name in REMOVED_KEYS:
        return f"{where}: the key {name} is gone: {REMOVED_KEYS[name][1]}"
    return f"{where}: there is no key {name}.{nearest(name)}"


def shown(value: Any) -> str:
    """A value as somebody would have typed it, short enough for a sentence."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def apply(config: DictConfig, settings: Iterable[Setting]) -> list[str]:
    """Lay settings over ``config``, a structured ``Config``, in order; returns a sentence for each of a wrong type."""
    problems = []
    for setting in settings:
        key = owner_of(setting.name)
        if key is None:
            problems.append(unknown_key(setting.name, setting.origin))
            continue
        value = _yes_or_no(setting.value) if setting.name == "observe.live" else setting.value
        try:
            _update(config, setting.name, value, inside_seam=key.seam and setting.name != key.name, seam=key.name)
        except (OmegaConfBaseException, AttributeError, KeyError, TypeError, ValueError):
            # OmegaConf's own messages span lines and speak of its classes; the schema says it in words.
            problems.append(f"{setting.origin}: {setting.name} must be {key.accepts}, not {shown(setting.value)}.")
    return problems


def _update(config: DictConfig, name: str, value: Any, *, inside_seam: bool, seam: str) -> None:
    if inside_seam and not OmegaConf.is_dict(OmegaConf.select(config, seam)):
        # "auto" makes way for a mapping: tracker._target_=... needs no tracker={} before it.
        OmegaConf.update(config, seam, {})
    OmegaConf.update(config, name, value, force_add=inside_seam)


def _yes_or_no(value: Any) -> Any:
    # YAML reads a bare yes or no as a truth value.
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value

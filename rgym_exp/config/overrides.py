"""Hydra's override grammar on the command line: ``training.lora=true``, ``+tracker.project=mine``, ``~training.top_k``.

Lists, mappings, quotes, casts and escapes are Hydra's own. Two things differ, since the configuration is typed: ``+``
may also name a key that exists, and ``~`` puts a key's default back. Sweeps (``a=1,2``) are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from rgym_exp.aliases import CONFIG_KEYS
from rgym_exp.config.keys import owner_of, schema_keys, sections
from rgym_exp.config.settings import Setting, settings_from, unknown_key

NETWORK_CHOICE = "network"
"""``network=gensyn-testnet`` chooses the network, as ``network.name=...`` does."""


def parse_overrides(overrides: Sequence[str]) -> tuple[list[Setting], list[str]]:
    """Return the settings, in order, and a sentence for each override that can't be used."""
    parser = OverridesParser.create()
    found: list[Setting] = []
    problems: list[str] = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            problems.append(f"command line: {text!r} is no override. {_remedy(text, parser)}")
            continue
        settings, wrong = _read(override, f"command line ({text})")
        found += settings
        problems += wrong
    return found, problems


def _remedy(text: str, parser: OverridesParser) -> str:
    plain = "Write key=value, for instance training.num_generations=4."
    key, equals, value = text.partition("=")
    if not equals:
        return plain
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    quoted = f'{key}="{escaped}"'
    try:
        parser.parse_override(quoted)
    except HydraException:
        return plain
    return f"Quote what has spaces, commas, brackets or = signs in it: '{quoted}'"


def _read(override: Override, origin: str) -> tuple[list[Setting], list[str]]:
    said, value = override.key_or_group.replace("/", "."), override.value()
    name = CONFIG_KEYS.get(said, said)
    if override.is_sweep_override():
        return [], [f"{origin}: a run takes one value for {name}, not several. For a text with commas, quote it."]
    if override.is_delete():
        return _default(name, origin)
    if name == NETWORK_CHOICE and isinstance(value, str):
        return [Setting(name="network.name", value=value, origin=origin)], []
    if name in sections():
        content = {name: value}
        return settings_from(content, origin)
    if isinstance(value, Mapping) and owner_of(name) is None:
        return [], [unknown_key(name, origin)]
    return [Setting(name=name, value=value, origin=origin, old_name=said if said != name else None)], []


def _default(name: str, origin: str) -> tuple[list[Setting], list[str]]:
    key = schema_keys().get(name)
    if key is None:
        return [], [f"{origin}: ~ puts a key's default back, and {name} is not a key of its own."]
    return [Setting(name=name, value=key.default, origin=origin)], []

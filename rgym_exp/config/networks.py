"""Networks: named sets of chain, contract, bootnodes and tasks, one file each in ``network/``."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from pathlib import Path

from rgym_exp.config.invite import Invite
from rgym_exp.config.settings import Setting, literal, settings_from
from rgym_exp.config.yaml_file import read_yaml
from rgym_exp.errors import ConfigError

FOLDER = Path(__file__).parent / "network"
DEFAULT_NETWORK = "local"


def network_names() -> list[str]:
    """The networks that come with the program."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def network_settings(name: str) -> tuple[list[Setting], list[str]]:
    """The values of a network: a name of ours, or the path of a YAML file with the keys of the section ``network``.

    Raises:
        ConfigError: there is no such network, or its file can't be read.
    """
    file = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    known = network_names()
    if not file.is_file() or (file.parent == FOLDER and name not in known):
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(
            f"There is no network {name!r}.{hint} Known: {', '.join(known)}, or the path of a .yaml file; to join"
            " somebody's swarm use --join with their invite."
        )
    called = f"network file {file.name}"
    mapping, lines = read_yaml(file, called=called)
    lines = {f"network.{key}": line for key, line in lines.items()}
    found, problems = settings_from(mapping, called, prefix="network.", lines=lines)
    if not any(setting.name == "network.name" for setting in found):
        found.insert(0, Setting(name="network.name", value=file.stem, origin=called))
    return found, problems


def invite_settings(invite: Invite, *, over_network: bool) -> list[Setting]:
    """What an invite brings. Laid over a named network it leaves that network's name and hub as they are."""
    values = asdict(invite.network())
    kept = ("name", "hub") if over_network else ()
    return [
        Setting(name=f"network.{key}", value=literal(value), origin="the invite")
        for key, value in values.items()
        if key not in kept
    ]

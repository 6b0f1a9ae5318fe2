"""From layers to one typed configuration.

Weakest first: the schema's defaults, the network or the invite, the user's file, environment variables, the command
line. Every mistake in any of them is collected, and all are told at once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rgym_exp.config.environment import environment_settings, network_from
from rgym_exp.config.first_swarm import note_on_variables
from rgym_exp.config.invite import Invite, note_on_version
from rgym_exp.config.keys import owner_of
from rgym_exp.config.networks import DEFAULT_NETWORK, invite_settings, network_settings
from rgym_exp.config.overrides import parse_overrides
from rgym_exp.config.paths import Home
from rgym_exp.config.schema import Config
from rgym_exp.config.settings import Setting, apply, note_on_old_names, settings_from
from rgym_exp.config.template import file_name, prepare_user_file
from rgym_exp.config.validate import problems_of
from rgym_exp.config.yaml_file import read_yaml
from rgym_exp.errors import ConfigError

logger = logging.getLogger("rl_swarm.config")

NETWORK_NAME = "network.name"


def load_config(
    home: Home,
    *,
    network: str | None = None,
    invite: Invite | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """``load_with_notes`` for callers that have nothing to add: the notes are logged."""
    config, notes = load_with_notes(home, network=network, invite=invite, overrides=overrides, environ=environ)
    for note in notes:
        logger.info(note)
    return config


def load_with_notes(
    home: Home,
    *,
    network: str | None = None,
    invite: Invite | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> tuple[Config, list[str]]:
    """The configuration of a run, and what a person should know of it; the first run makes the user's file.

    Args:
        network: the network's name or file. With ``invite`` as well, the invite's values fill in that network's.
        overrides: Hydra overrides from the command line.

    Raises:
        ConfigError: every mistake found, one sentence each.
    """
    notes = note_on_variables(environ) + _prepared_file(home, environ)
    from_file, problems = _user_file(home)
    from_variables, wrong_variables = environment_settings(environ)
    from_line, wrong_overrides = parse_overrides(overrides)
    problems += wrong_variables + wrong_overrides

    strong = _network_said(network, invite, from_line, environ, problems)
    in_file = _network_name(from_file)
    if in_file and (strong or invite) and in_file != strong:
        # What somebody wrote for one network (addresses, bootnodes) would lead astray on another.
        from_file = [setting for setting in from_file if not setting.name.startswith("network.")]
        notes.append(f"The section network of {file_name(home)} is for {in_file} and is left aside in this run.")
    base = _network_layer(strong or (None if invite else in_file or DEFAULT_NETWORK), invite, problems)

    tree = OmegaConf.structured(Config)
    # A name has done its work as the choice; the network's own file says what it is called.
    chosen = [setting for setting in [*from_file, *from_variables, *from_line] if setting.name != NETWORK_NAME]
    problems += apply(tree, [*base, *chosen])
    config = _as_dataclass(tree, problems)
    problems += _with_origins(problems_of(config), [*base, *chosen])
    if problems:
        raise ConfigError(_joined(problems))
    if invite is not None and (note := note_on_version(invite)):
        notes.append(note)
    notes += note_on_old_names([*from_file, *from_line])
    return config, notes + _masked(invite, from_file, file_name(home))


def _prepared_file(home: Home, environ: Mapping[str, str]) -> list[str]:
    try:
        return prepare_user_file(home, environ)
    except OSError as error:
        raise ConfigError(
            f"{home.config_file} can't be made: {error.strerror}. Mend its permissions, or choose another folder with"
            " --home."
        ) from None


def _user_file(home: Home) -> tuple[list[Setting], list[str]]:
    called = file_name(home)
    mapping, lines = read_yaml(home.config_file, called=called)
    if isinstance(name := mapping.get("network"), str):
        mapping["network"] = {"name": name}
        lines[NETWORK_NAME] = lines["network"]
    return settings_from(mapping, called, lines=lines)


def _network_name(settings: Sequence[Setting]) -> str | None:
    names = [str(setting.value) for setting in settings if setting.name == NETWORK_NAME]
    return names[-1] if names else None


def _network_said(
    network: str | None,
    invite: Invite | None,
    from_line: Sequence[Setting],
    environ: Mapping[str, str],
    problems: list[str],
) -> str | None:
    """The network that the command line or CONNECT_TO_TESTNET names; None leaves it to the invite or the file."""
    on_line = _network_name(from_line)
    if network and on_line and network != on_line:
        problems.append(f"command line: both network {network} and network={on_line} are asked for. Choose one.")
    if network or on_line:
        return network or on_line
    if invite:
        return None
    try:
        return network_from(environ)
    except ConfigError as error:
        problems.append(str(error))
        return None


def _network_layer(name: str | None, invite: Invite | None, problems: list[str]) -> list[Setting]:
    layer: list[Setting] = []
    if name:
        try:
            layer, wrong = network_settings(name)
            problems += wrong
        except ConfigError as error:
            problems.append(str(error))
            layer, _ = network_settings(DEFAULT_NETWORK)
    if invite:
        layer += invite_settings(invite, over_network=name is not None)
    return layer


def _as_dataclass(tree: DictConfig, problems: Sequence[str]) -> Config:
    try:
        config = OmegaConf.to_object(tree)
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if error.full_key else ""
        # The first line says what; the rest is about OmegaConf's own types.
        sentence = f"{key}a reference ${{...}} can't be resolved: {str(error).splitlines()[0]}."
        raise ConfigError(_joined([*problems, sentence])) from None
    if not isinstance(config, Config):
        raise AssertionError("a structured Config turns into a Config")
    return config


def _with_origins(problems: Sequence[str], settings: Sequence[Setting]) -> list[str]:
    """Say where a value came from: the sentences of ``problems_of`` start with the key's name."""
    owners = ((owner_of(setting.name), setting.origin) for setting in settings)
    origins = {owner.name: origin for owner, origin in owners if owner}
    named = ((problem.partition(" ")[0], problem) for problem in problems)
    return [f"{origins[name]}: {problem}" if name in origins else problem for name, problem in named]


def _masked(invite: Invite | None, from_file: Sequence[Setting], called: str) -> list[str]:
    names = [setting.name for setting in from_file if setting.name.startswith("network.")]
    if not invite or not names:
        return []
    return [f"{called} sets {', '.join(names)}: stronger than what the invite says."]


def _joined(problems: Sequence[str]) -> str:
    """One sentence per line, so that a person can mend all of them in one go."""
    if len(problems) == 1:
        return problems[0]
    return f"The configuration has {len(problems)} mistakes:\n" + "\n".join(f"  - {problem}" for problem in problems)

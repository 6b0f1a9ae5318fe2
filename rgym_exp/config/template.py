"""The user's own configuration file: made from the template once, then theirs.

Beside the file we keep the template it was made from, so that after an update we can say what is new and which
defaults changed, and stay silent about keys that the user took out on purpose.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rgym_exp.base.files import atomic_write
from rgym_exp.config.environment import is_set
from rgym_exp.config.first_swarm import is_first_swarms, is_untouched, renewed
from rgym_exp.config.paths import Home
from rgym_exp.config.settings import settings_from, shown
from rgym_exp.config.yaml_file import read_yaml

TEMPLATE = Path(__file__).parent / "rg-swarm.yaml"


def file_name(home: Home) -> str:
    """The user's file as messages call it: short where it is in its usual place."""
    return str(home.config_file.relative_to(home.root))


def prepare_user_file(home: Home, environ: Mapping[str, str]) -> list[str]:
    """Make the user's file on the first run, renew it when GENSYN_RESET_CONFIG asks or when it is the first RL Swarm's,
    and compare it with the template.

    Returns:
        Sentences about what was done or differs, for the log.

    Raises:
        ConfigError: the user's file isn't YAML.
        OSError: the folder can't be written.
    """
    if not home.config_file.exists():
        _copy_template(home)
        return [f"Made {file_name(home)} from the template. It is yours to edit: this file is what runs read."]
    if is_set("GENSYN_RESET_CONFIG", environ, any_word=True) and home.config_file.read_bytes() != TEMPLATE.read_bytes():
        backup = _back_up(home.config_file)
        _copy_template(home)
        return [f"GENSYN_RESET_CONFIG: renewed {file_name(home)} from the template; the old one is {backup.name}."]
    mapping, _ = read_yaml(home.config_file, called=file_name(home))
    if is_first_swarms(mapping):
        return _renew_first_swarms(home, mapping)
    return _differences(home)


def _copy_template(home: Home, content: str | None = None) -> None:
    """Make the user's file: the template, or ``content``, which is the template with other values."""
    atomic_write(home.config_file, TEMPLATE.read_bytes() if content is None else content.encode())
    atomic_write(home.template_copy, TEMPLATE.read_bytes())


def _renew_first_swarms(home: Home, mapping: Mapping[str, Any]) -> list[str]:
    name = file_name(home)
    untouched = is_untouched(home.config_file.read_bytes())
    backup = _back_up(home.config_file)
    if untouched:
        _copy_template(home)
        return [f"{name} was the untouched template of an earlier RL Swarm: renewed, the old one is {backup.name}."]
    renewal = renewed(mapping, TEMPLATE.read_text(encoding="utf-8"))
    _copy_template(home, renewal.content)
    notes = [f"{name} was of an earlier RL Swarm, which has other keys: renewed, the old one is {backup.name}."]
    if renewal.carried:
        notes.append(f"Carried over from it: {', '.join(renewal.carried)}.")
    if renewal.left:
        notes.append(f"Not carried over from it, each with what replaces it: {', '.join(renewal.left)}.")
    return notes


def _back_up(file: Path) -> Path:
    stem = f"{file.name}.{time.strftime('%Y%m%d-%H%M%S')}"
    backup = file.with_name(f"{stem}.bak")
    count = 1
    while backup.exists():
        count += 1
        backup = file.with_name(f"{stem}-{count}.bak")
    file.rename(backup)
    return backup


def _differences(home: Home) -> list[str]:
    name = file_name(home)
    old = _values(home.template_copy, "the kept template") if home.template_copy.exists() else {}
    if old and _digest(home.template_copy) == _digest(TEMPLATE):
        return []
    new, mine = _values(TEMPLATE, "the template"), _values(home.config_file, name)
    notes = []
    if missing := [key for key in new if key not in mine and key not in old]:
        listed = ", ".join(f"{key} ({shown(new[key])})" for key in missing)
        notes.append(f"{name} lacks keys of this version's template; their defaults apply: {listed}.")
    for key in new:
        if key in old and old[key] != new[key] and key in mine and mine[key] == old[key]:
            notes.append(
                f"The default of {key} is now {shown(new[key])}; {name} still says {shown(mine[key])}, which was the"
                " default when it was made. Edit it, or start once with GENSYN_RESET_CONFIG=1."
            )
    return notes


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _values(file: Path, called: str) -> dict[str, Any]:
    mapping, _ = read_yaml(file, called=called)
    found, _ = settings_from(mapping, called)
    return {setting.name: setting.value for setting in found}

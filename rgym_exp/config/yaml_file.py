"""Reading one YAML file: its values, and the line on which each key stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from rgym_exp.errors import ConfigError


def read_yaml(path: Path, *, called: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the file's mapping and the line (from 1) of each dotted key.

    Args:
        called: what a person knows the file as, for messages.

    Raises:
        ConfigError: the file is missing, not text, not YAML (with line and column), or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{called} is not a text file in UTF-8. Save it as such, or replace it.") from None
    except OSError as error:
        raise ConfigError(f"{called} can't be read: {error.strerror}. Check its permissions.") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None and not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{called} must hold keys with values (training: ...), not a list or a single text.")
        # OmegaConf's own reader refuses a key said twice and takes 1e-5 for a number.
        values = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{called} is not valid YAML{_place(error)}: {_reason(error)}.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{called} is not valid YAML: {str(error).splitlines()[0]}.") from None
    except RecursionError:
        raise ConfigError(f"{called} is no configuration: its values lie thousands of levels deep.") from None
    if not isinstance(values, dict):
        raise AssertionError("a DictConfig turns into a dict")
    return {str(key): value for key, value in values.items()}, _lines(root)


def _place(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _reason(error: yaml.MarkedYAMLError) -> str:
    return " ".join((error.problem or error.context or "it can't be parsed").split())


def _lines(node: yaml.Node | None, prefix: str = "") -> dict[str, int]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    found: dict[str, int] = {}
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        found[name] = key.start_mark.line + 1
        found |= _lines(value, f"{name}.")
    return found

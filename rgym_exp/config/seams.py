"""Swapping a component: a key of the configuration that names a class of somebody's own with ``_target_``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rgym_exp.errors import ConfigError

Made = TypeVar("Made")


def instantiate_or(
    value: Any, default_factory: Callable[[], Made], *, key: str = "", given: Mapping[str, Any] | None = None
) -> Made:
    """What ``value`` names, or ours.

    Args:
        value: "auto" or another name, for which ``default_factory`` is called; or a mapping with ``_target_`` (a dotted
            Python name) and the arguments to call it with, as Hydra's ``instantiate`` reads it.
        key: the key's dotted name, for messages.
        given: what the run can offer (the identity's path, the swarm's id, ...). The target gets those that it has
            parameters for; what the mapping says is stronger.

    Raises:
        ConfigError: the class can't be found, or refuses its arguments.
    """
    if not isinstance(value, Mapping):
        return default_factory()
    target = _target_of(value, key)
    # Imported here since most runs swap nothing.
    from hydra.errors import InstantiationException
    from hydra.utils import get_object, instantiate

    try:
        offered = _accepted(get_object(target), given or {})
        # Partial, so that what the run offers is handed over as it is and not turned into configuration values.
        make = instantiate(dict(value), _partial_=True, _convert_="all")
    except (InstantiationException, ImportError, AttributeError, ValueError, TypeError) as error:
        raise _not_there(key, target, error) from error
    try:
        made: Made = make(**{name: offer for name, offer in offered.items() if name not in value})
    except Exception as error:  # Somebody else's code, which may raise anything.
        raise ConfigError(f"{key}: {target} can't be made: {_reason(error)}.") from error
    return made


def check_target(value: Any, *, key: str) -> None:
    """Import the class that ``value`` names, if it names one.

    Raises:
        ConfigError: it can't be found.
    """
    if not isinstance(value, Mapping):
        return
    target = _target_of(value, key)
    from hydra.utils import get_object

    try:
        get_object(target)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise _not_there(key, target, error) from error


def _target_of(value: Mapping[str, Any], key: str) -> str:
    target = value.get("_target_")
    if not isinstance(target, str):
        raise ConfigError(f"{key} is a mapping without _target_: name the class there, e.g. _target_: my_package.Mine.")
    return target


def _not_there(key: str, target: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"{key}: there is no {target} ({_reason(error)}). _target_ is a dotted Python name, and its package must be"
        " installed or on PYTHONPATH."
    )


def _accepted(target: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:  # Written in C, without a signature: it gets what the mapping says and no more.
        return {}
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(given)
    return {name: value for name, value in given.items() if name in parameters}


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__

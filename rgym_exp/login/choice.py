"""Which way this node gets at its account where the network's way is the browser."""

from __future__ import annotations

import json
from typing import Literal

from rgym_exp.base.called import as_called
from rgym_exp.base.files import atomic_write
from rgym_exp.config.paths import Home
from rgym_exp.config.schema import Config
from rgym_exp.errors import LoginError

ChosenMode = Literal["browser", "key file"]


def chosen_mode(home: Home) -> ChosenMode:
    """What ``rl-swarm login`` was last told; the browser when it never was. Raises LoginError for a damaged file."""
    try:
        mode = json.loads(home.login_choice.read_text(encoding="utf-8"))["way"]
    except FileNotFoundError:
        return "browser"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(home) from error
    if mode not in ("browser", "key file"):
        raise _damaged(home)
    return "key file" if mode == "key file" else "browser"


def remember_mode(home: Home, mode: ChosenMode) -> None:
    """From now on runs of this node have this account mode. Raises LoginError when that can't be written."""
    if mode == "browser" and not home.login_choice.exists():
        return  # nothing to say, and maybe no home yet
    try:
        atomic_write(home.login_choice, (json.dumps({"way": mode}) + "\n").encode(), mode=0o600)
    except OSError as error:
        raise LoginError(f"{home.login_choice} can't be written: {error}. Mend the folder's permissions.") from error


def uses_login_server(config: Config) -> bool:
    """Whether this node's account is one of the login server's."""
    kind = config.blockchain.coordinator
    return (config.network.coordinator if kind == "auto" else kind) == "modal"


def takes_key_file(config: Config, home: Home) -> bool:
    """Whether the network would have a browser login, and this node was told to use its key file instead."""
    by_network = config.blockchain.coordinator == "auto" and config.network.coordinator == "modal"
    return by_network and chosen_mode(home) == "key file"


def _damaged(home: Home) -> LoginError:
    return LoginError(f"{home.login_choice} is damaged. Remove it, or run `{as_called('login')}` again.")

"""Where a node keeps its things, and where all nodes of a user keep what they share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


def _path_from(variable: str, environ: Mapping[str, str]) -> Path | None:
    text = environ.get(variable, "").strip()
    return Path(text).expanduser().absolute() if text else None


@dataclass(frozen=True, kw_only=True)
class Home:
    """One node's folder; everything a node keeps lives below it (the identity too, unless it is told otherwise)."""

    root: Path
    identity_path: Path | None = field(default_factory=lambda: _path_from("IDENTITY_PATH", os.environ))
    """Where ``swarm.pem`` is when it is not in ``root``: $IDENTITY_PATH as it was when this value was made."""

    @classmethod
    def locate(cls, folder: str | Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Home:
        """The home in ``folder`` (``--home``), else $RL_SWARM_HOME, else the current directory."""
        root = Path(folder).expanduser().absolute() if folder else _path_from("RL_SWARM_HOME", environ)
        return cls(root=root or Path.cwd(), identity_path=_path_from("IDENTITY_PATH", environ))

    @property
    def identity(self) -> Path:
        """``swarm.pem``: the key that makes this node the peer it is."""
        return self.identity_path or self.root / "swarm.pem"

    @property
    def config_file(self) -> Path:
        """The user's own copy of the template: the file that a run reads."""
        return self.root / "configs" / "rg-swarm.yaml"

    @property
    def logs(self) -> Path:
        """Everything a run writes for people and for later reading."""
        return self.root / "logs"

    @property
    def state(self) -> Path:
        """What a node must remember between two runs."""
        return self.root / ".rl-swarm"

    @property
    def account_key(self) -> Path:
        return self.state / "account.key"

    @property
    def outbox(self) -> Path:
        """Transactions not yet confirmed."""
        return self.state / "outbox.sqlite"

    @property
    def checkpoints(self) -> Path:
        return self.state / "checkpoints"

    @property
    def prg_record(self) -> Path:
        """A line for every bet, claim and outcome in the prediction market, for people."""
        return self.logs / "prg_record.txt"

    @property
    def prg_state(self) -> Path:
        """What the player of the prediction market must remember."""
        return self.logs / "prg_state.json"

    @property
    def push(self) -> Path:
        """What is on its way to the model hub."""
        return self.state / "push"

    @property
    def template_copy(self) -> Path:
        """The template as it was when ``config_file`` was made from it."""
        return self.state / "rg-swarm.template.yaml"

    @property
    def login_choice(self) -> Path:
        """How this node gets at its account where the network's way is the browser: ``rl-swarm login`` writes it."""
        return self.state / "login.json"

    @property
    def page_data(self) -> Path:
        """What this node's own page keeps, where another node's login server has the place that all share."""
        return self.state / "login"

    @property
    def hub(self) -> Path:
        """A host's chain state, owner key, ``hub.pem`` and ``hub.json``."""
        return self.state / "hub"


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Things that can be fetched or made again and that all homes of a user share: converted models, the anvil binary.

    $XDG_CACHE_HOME/rl-swarm, or ~/.cache/rl-swarm. The folder may not exist yet.
    """
    return (_path_from("XDG_CACHE_HOME", environ) or Path.home() / ".cache") / "rl-swarm"


def login_app_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The login server's program: $LOGIN_APP_DIR, or the checkout's ``modal-login``, which need not exist."""
    return _path_from("LOGIN_APP_DIR", environ) or Path(__file__).resolve().parents[2] / "modal-login"


def login_data_dir(environ: Mapping[str, str] = os.environ, *, wallet: str = "alchemy") -> Path:
    """What the login server keeps, who is logged in and with which keys: $LOGIN_DATA_DIR, or below the program.

    Logins of the wallet ``local`` lie apart, unless $LOGIN_DATA_DIR names the place: on another network they would be
    taken for logins there.
    """
    shared = login_app_dir(environ) / "temp-data"
    return _path_from("LOGIN_DATA_DIR", environ) or (shared if wallet == "alchemy" else shared / wallet)


def login_token_file(environ: Mapping[str, str] = os.environ, *, wallet: str = "alchemy") -> Path:
    """The token without which the login server changes nothing (mode 0600)."""
    return login_data_dir(environ, wallet=wallet) / "token"

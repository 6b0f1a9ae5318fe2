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
    def template_copy(self) -> Path:
        """The template as it was when ``config_file`` was made from it."""
        return self.state / "rg-swarm.template.yaml"

    @property
    def hub(self) -> Path:
        """A host's chain state, owner key, ``hub.pem`` and ``hub.json``."""
        return self.state / "hub"


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Things that can be fetched or made again and that all homes of a user share: converted models, the anvil binary.

    $XDG_CACHE_HOME/rl-swarm, or ~/.cache/rl-swarm. The folder may not exist yet.
    """
    return (_path_from("XDG_CACHE_HOME", environ) or Path.home() / ".cache") / "rl-swarm"

"""``hub.json``: what a hub must remember so that, restarted, it is the same hub."""

from __future__ import annotations

import dataclasses
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from rgym_exp.base.files import atomic_write
from rgym_exp.errors import HubError


@dataclass(frozen=True, kw_only=True)
class HubRecord:
    """A hub's swarm and where it listens. Invites carry these, so a change would strand everybody who joined."""

    swarm_id: str
    tasks: str
    model_name: str
    port: int
    """Of the HTTP API."""
    p2p_port: int
    rpc_url: str | None = None
    """A chain of the host's choice; None for the hub's own devnet."""
    contract: str | None = None
    """SwarmCoordinator's address, once it is deployed."""
    market: str | None = None
    """PredictionMarket's address, once it is deployed."""


def new_swarm_id() -> str:
    """A name for a new swarm that no other swarm has."""
    return f"swarm-{secrets.token_hex(6)}"


def load_record(path: Path) -> HubRecord | None:
    """The record, or None when this hub starts for the first time. Raises a HubError for a damaged file."""
    try:
        return HubRecord(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise HubError(
            f"{path} is damaged ({error}). Restore it from a backup, or move the folder {path.parent} away to start "
            f"a new swarm; those who joined the old one then need a new invite."
        ) from error


def save_record(path: Path, record: HubRecord) -> None:
    """Write the record in one piece."""
    atomic_write(path, (json.dumps(dataclasses.asdict(record), indent=2) + "\n").encode())

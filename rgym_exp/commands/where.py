"""Which network a home belongs to, for the commands that look at a node from outside."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rgym_exp.config.paths import Home
from rgym_exp.config.schema import NetworkConfig
from rgym_exp.errors import HubError, InviteError
from rgym_exp.hub.hub_plan import DEFAULT_PORT
from rgym_exp.hub.hub_record import load_record


def network_of(home: Home) -> NetworkConfig:
    """The network of the node's last run (``logs/config.yaml``), else of this machine's own hub."""
    network = _last_network(home)
    if network is None or (network.hub and network.hub_url is None):
        network = dataclasses.replace(network or NetworkConfig(), hub_url=own_hub_url(home))
    return network


def hub_url_of(home: Home) -> str:
    """The hub of the node's last run, else this machine's own."""
    return network_of(home).hub_url or own_hub_url(home)


def hub_url_in(invite: str) -> str:
    """The hub that an invite (the line itself, a file or a URL) names.

    Raises:
        InviteError: it can't be read, or names none.
    """
    from rgym_exp.config.invite import read_invite

    hub_url = read_invite(invite).hub_url
    if hub_url is None:
        raise InviteError(
            "This invite names no hub, and only a hub can be asked. Ask the host for its hub's address and give that "
            "with `--hub URL`."
        )
    return hub_url


def own_hub_url(home: Home) -> str:
    """Where the hub of this home would answer on this machine."""
    try:
        record = load_record(home.hub / "hub.json")
    except (HubError, OSError):
        record = None  # Starting the hub says what is wrong with it; here we only look around.
    return f"http://127.0.0.1:{record.port if record else DEFAULT_PORT}"


def _last_network(home: Home) -> NetworkConfig | None:
    """The ``network`` section of the last run's resolved configuration; None before the first run."""
    import yaml

    try:
        saved: Any = yaml.safe_load((home.logs / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    section = saved.get("network") if isinstance(saved, Mapping) else None
    if not isinstance(section, Mapping):
        return None
    known = {field.name for field in dataclasses.fields(NetworkConfig)}
    return NetworkConfig(**{key: value for key, value in section.items() if key in known})

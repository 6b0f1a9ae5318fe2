"""What the doctor finds out about this machine from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rgym_exp.commands.checks import Finding, ok, warning
from rgym_exp.config.load import load_config
from rgym_exp.config.paths import Home
from rgym_exp.errors import ConfigError, SwarmError
from rgym_exp.swarm.bootnodes import is_on_this_machine
from rgym_exp.swarm.outside_look import look_from_outside


def check_reachability(home: Home, bootnodes: Sequence[str]) -> Finding:
    """Whether others can reach a node of this home directly: a bootnode dials back."""
    elsewhere = [address for address in bootnodes if not is_on_this_machine(address)]
    if not elsewhere:
        return ok("the swarm is on this machine: nobody has to reach it from outside")
    port = _listening_port(home)
    try:
        found = asyncio.run(look_from_outside(elsewhere, port=port))
    except SwarmError as error:
        return warning(
            f"whether others can reach this machine is unknown. {error}",
            "Nodes can run without knowing. Try again when the bootnodes above can be reached.",
        )
    if found.open_ports:
        return ok(f"others can reach this machine directly, at {found.host} port {found.open_ports[0]}")
    return warning(
        f"others can't reach this machine directly (tried: {found.host} port {found.ports[0]}); "
        "its shares will travel through the bootnode",
        "It works that way. To be reached directly, set communications.port to a fixed port, and have your router "
        "forward that TCP port to this machine."
        if port == 0
        else f"It works that way. To be reached directly, have your router forward TCP port {port} to this machine.",
    )


def _listening_port(home: Home) -> int:
    """``communications.port`` of this home; 0 (any) where there is no configuration that can be read."""
    if not home.config_file.exists():
        return 0
    try:
        return load_config(home).communications.port
    except ConfigError:
        return 0  # said by a check of its own

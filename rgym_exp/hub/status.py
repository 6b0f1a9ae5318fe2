"""What a hub says of its swarm at ``/status``."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from rgym_exp import __version__
from rgym_exp.config.invite import Invite
from rgym_exp.hub.keeper import Keeper
from rgym_exp.swarm.names import animal_name

MAX_PEERS_SHOWN = 500


def status(invite: Invite, keeper: Keeper, trouble: str | None = None) -> Mapping[str, Any]:
    """What ``/status`` says; a peer's key facts are its own words except peer id and round, which are signed.

    ``trouble`` is that of a part: it says more than the keeper can."""
    newest = keeper.activity.newest()
    peers = [
        {
            "name": animal_name(announcement.peer_id),
            "peer_id": announcement.peer_id,
            "last_round": announcement.round,
            "model_name": announcement.model_name,
            "mean_reward": announcement.mean_reward if math.isfinite(announcement.mean_reward) else None,
            "account": announcement.account,
        }
        for announcement in newest[:MAX_PEERS_SHOWN]
    ]
    return {
        "swarm_id": invite.swarm_id,
        "tasks": invite.tasks,
        "round": keeper.round,
        "stage": keeper.stage,
        "round_seconds": round(time.monotonic() - keeper.round_started, 1),
        "announced": len(keeper.activity.announced(keeper.round)),
        "active": keeper.active,
        "peer_count": len(newest),
        "peers": peers,
        "contract": invite.coordinator_address,
        "chain_id": invite.chain_id,
        "trouble": trouble or keeper.outage.trouble,
        "version": __version__,
    }

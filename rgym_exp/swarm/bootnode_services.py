"""What a bootnode does for others besides keeping DHT records."""

from __future__ import annotations

from hivemind.p2p import P2P

from rgym_exp.swarm.dial_back import ReachabilityService
from rgym_exp.swarm.share_relay import AuthorConnections, RelayLimits, ShareRelay


async def serve_as_bootnode(p2p: P2P, limits: RelayLimits | None = None) -> None:
    """Register at a (new) daemon what peers ask of a bootnode.

    Raises:
        P2PDaemonError, OSError, EOFError: the daemon is gone.
    """
    limits = limits or RelayLimits()
    await ShareRelay(AuthorConnections(p2p, limits), limits).start(p2p)
    await ReachabilityService().start(p2p)

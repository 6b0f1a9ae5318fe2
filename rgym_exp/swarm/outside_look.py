"""One look at this machine from outside, without a node: a daemon of some seconds has a bootnode dial it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.base.ports import is_free
from rgym_exp.errors import SwarmError
from rgym_exp.swarm.bootnodes import parse_bootnodes
from rgym_exp.swarm.daemon import start_daemon
from rgym_exp.swarm.identity import load_or_create_identity
from rgym_exp.swarm.reachability import Reachability, ask_dial_back

_CONNECT_SECONDS = 10.0
_TRIES = 3
_PAUSE_SECONDS = 4.0  # a bootnode dials one address only so often, and a node here may just have asked


async def look_from_outside(bootnodes: Sequence[str], *, port: int) -> Reachability:
    """Whether the first of these bootnodes that answers can reach ``port`` (0: any) on this machine.

    Where a node listens there already, that node is looked for.

    Raises:
        SwarmError: none of the bootnodes dials back, or the daemon doesn't start.
    """
    with tempfile.TemporaryDirectory() as folder:
        identity = load_or_create_identity(Path(folder) / "look.pem")
        is_taken = port != 0 and not is_free("0.0.0.0", port)
        p2p = await start_daemon(identity, host="0.0.0.0", port=0 if is_taken else port)
        try:
            for bootnode in parse_bootnodes(bootnodes):
                try:
                    async with asyncio.timeout(_CONNECT_SECONDS):
                        await p2p._client.connect(bootnode.peer_id, [bootnode.address])
                    for _ in range(_TRIES):
                        found = await ask_dial_back(p2p, bootnode.peer_id, port=port or None)
                        if found is not None:
                            return found
                        await asyncio.sleep(_PAUSE_SECONDS)
                except (TimeoutError, OSError, EOFError, ValueError, P2PDaemonError):
                    continue
        finally:
            await p2p.shutdown()
    raise SwarmError("No bootnode of this swarm dials back: none answers, or they run an earlier version.")

"""Keeping in touch with the swarm through its bootnodes, which may be away when we start and may come and go.

libp2p punishes a failed dial with a growing pause of up to minutes. So before asking it to dial, we look whether the
bootnode's TCP port answers: a bootnode that comes back is then met again within seconds, however long it was away.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from hivemind.dht.node import DHTNode
from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError
from hivemind.utils.multiaddr import Multiaddr

from rgym_exp.base.outage import Outage
from rgym_exp.errors import SwarmError

_PROBE_SECONDS = 2.0
_CONNECT_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 8.0  # a look at a port costs next to nothing, and shares between homes wait for its bootnode
_CHECK_SECONDS = 5.0

logger = logging.getLogger("rl_swarm.swarm")


@dataclass(frozen=True, kw_only=True)
class Bootnode:
    """One address of a bootnode."""

    peer_id: PeerID
    address: Multiaddr
    """Without its ``/p2p/...`` end."""
    host: str | None
    """What a plain TCP connection can be tried to; None for addresses of another kind (QUIC, relays)."""
    port: int


def parse_bootnodes(addresses: Sequence[str]) -> list[Bootnode]:
    """Raises:
    SwarmError: an address is not a multiaddr that ends in ``/p2p/<peer id>``.
    """
    return [_parse(address) for address in addresses]


class BootnodeKeeper:
    """Connects to the bootnodes and reconnects for ever; calls ``on_joined`` each time contact is (re)made."""

    def __init__(
        self, bootnodes: Sequence[Bootnode], p2p: P2P, node: DHTNode, on_joined: Callable[[], Awaitable[None]]
    ) -> None:
        self._bootnodes = [bootnode for bootnode in bootnodes if bootnode.peer_id != p2p.peer_id]
        self._p2p = p2p
        self._node = node
        self._on_joined = on_joined
        self._first_round_over = asyncio.Event()
        self._hint = asyncio.Event()

    def try_now(self) -> None:
        """A sign of life of the hub came from elsewhere: end the pause before the next attempt."""
        self._hint.set()

    async def first_attempt(self, timeout_seconds: float) -> None:
        """Wait until every bootnode was tried once (whatever came of it), or the time is up."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._first_round_over.wait()
        except TimeoutError:
            logger.info("No bootnode has answered yet; trying on in the background.")

    async def run(self) -> None:
        """For ever: look whether a bootnode is connected, and if none is, try to reach one."""
        pause = _FIRST_PAUSE_SECONDS
        outage = Outage(
            logger,
            failing="None of the %s bootnodes can be reached. Going on without; trying again in the background.",
        )
        while self._bootnodes:
            in_touch = await self._connected() or await self._reach_any()
            self._first_round_over.set()
            if in_touch:
                outage.works()
                pause = _FIRST_PAUSE_SECONDS
                await asyncio.sleep(_CHECK_SECONDS)
                continue
            outage.fails(len(self._bootnodes))
            pause = await self._pause(pause)
        self._first_round_over.set()

    async def _pause(self, seconds: float) -> float:
        """Wait so long, or until there is a hint; returns how long to wait after the next attempt."""
        try:
            # Not all after the same time: a whole swarm would come back at once.
            await asyncio.wait_for(self._hint.wait(), seconds * random.uniform(0.5, 1.0))
        except TimeoutError:
            return min(2 * seconds, _LONGEST_PAUSE_SECONDS)
        # It is about to be back, if it isn't: the first attempt need not be the one that works.
        self._hint.clear()
        return _FIRST_PAUSE_SECONDS

    async def _connected(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                here = {peer.peer_id for peer in await self._p2p.list_peers()}
        except (OSError, EOFError, P2PDaemonError, TimeoutError):
            return False
        in_table = self._node.protocol.routing_table
        # Connected but fallen out of the routing table (it was silent once) counts as out of touch.
        return any(
            bootnode.peer_id in here and in_table.get(peer_id=bootnode.peer_id) is not None
            for bootnode in self._bootnodes
        )

    async def _reach_any(self) -> bool:
        reached = [await self._reach(bootnode) for bootnode in self._bootnodes]
        if not any(reached):
            return False
        try:
            await self._join()
        except (OSError, EOFError, P2PDaemonError, TimeoutError) as error:
            logger.debug("A bootnode was reached, but joining failed: %s", error)
            return False
        return True

    async def _reach(self, bootnode: Bootnode) -> bool:
        if not await _answers(bootnode):
            return False
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await self._p2p._client.connect(bootnode.peer_id, [bootnode.address])
                return await self._node.protocol.call_ping(bootnode.peer_id) is not None
        except (OSError, EOFError, P2PDaemonError, TimeoutError) as error:
            logger.debug("Bootnode %s answers but can't be joined: %s", bootnode.peer_id, error)
            return False

    async def _join(self) -> None:
        self._node.blacklist.clear()
        # Looking for our own id fills the routing table with our neighbours, and theirs with us (Kademlia, 2.3).
        await asyncio.wait_for(self._node.find_nearest_nodes([self._node.node_id]), _CONNECT_SECONDS)
        logger.info(
            "In touch with the swarm: %d DHT nodes known.", len(self._node.protocol.routing_table.uid_to_peer_id)
        )
        await self._on_joined()


async def _answers(bootnode: Bootnode) -> bool:
    if bootnode.host is None:
        return True
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_connection(bootnode.host, bootnode.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _parse(address: str) -> Bootnode:
    complaint = f"{address!r} is not a bootnode address; it should look like /ip4/203.0.113.7/tcp/38331/p2p/Qm..."
    try:
        parsed = Multiaddr(address)
        peer_id = PeerID.from_base58(parsed["p2p"])
        transport = Multiaddr(address[: address.rindex("/p2p/")])
    except (ValueError, LookupError) as error:
        raise SwarmError(complaint) from error
    parts = address.strip("/").split("/")
    is_tcp = len(parts) == 6 and parts[2] == "tcp" and parts[0] in ("ip4", "ip6", "dns", "dns4", "dns6")
    return Bootnode(
        peer_id=peer_id,
        address=transport,
        host=parts[1] if is_tcp else None,
        port=int(parts[3]) if is_tcp else 0,
    )

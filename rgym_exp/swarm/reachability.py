"""A node's side of ``dial_back``: it has itself dialled, says what came of it, and asks where another peer is.

Most nodes are behind a home's router, and can be reached by nobody from outside. That is no fault, but worth a line.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError
from hivemind.utils.multiaddr import Multiaddr

from rgym_exp.swarm.dial_back import ADDRESSES_PROTOCOL, DIAL_BACK_PROTOCOL, MAX_ADDRESSES, MAX_PORTS, receive, send
from rgym_exp.swarm.multiaddrs import is_inside, is_plain_tcp, port_of
from rgym_exp.swarm.streams import open_stream

_OPEN_SECONDS = 5.0
_ANSWER_SECONDS = 12.0
_CONNECT_SECONDS = 5.0
_AGAIN_SECONDS = 600.0
_FIRST_RETRY_SECONDS = 5.0

logger = logging.getLogger("rl_swarm.swarm")


@dataclass(frozen=True, kw_only=True)
class Reachability:
    """What a bootnode found when it dialled back."""

    host: str
    """The address that this node's connections come from."""
    ports: tuple[int, ...]
    """At which it was dialled."""
    open_ports: tuple[int, ...]
    """At which it was reached."""

    def in_words(self) -> str:
        """One or two sentences for people."""
        if self.open_ports:
            return f"Others can reach this node directly, at {self.host} port {self.open_ports[0]}."
        port = " and ".join(str(port) for port in self.ports)
        return (
            f"Others can't reach this node directly (the bootnode tried {self.host} port {port}): it is behind a "
            "router or a firewall. It takes part all the same, and its shares travel through the bootnode. To be "
            f"reached directly, set communications.port={self.ports[0]} and have the router forward that TCP port here."
        )


async def ask_dial_back(p2p: P2P, bootnode: PeerID, *, port: int | None = None) -> Reachability | None:
    """Have a bootnode dial this node, or the one at ``port`` here; None where it won't (it was asked a moment ago).

    Raises:
        TimeoutError, OSError, EOFError, P2PDaemonError, ValueError: it can't be asked, or its answer is none.
    """
    _, listening = await p2p._client.identify()
    addresses = [str(address) for address in listening]
    ports = sorted({port_of(address) for address in addresses if is_plain_tcp(address)})[:MAX_PORTS]
    ports = [port] if port is not None else ports
    if not ports:
        return None
    inside = [address for address in addresses if is_inside(address)][:MAX_ADDRESSES]
    answer = await _ask(p2p, bootnode, DIAL_BACK_PROTOCOL, [ports, inside])
    if not isinstance(answer, list) or len(answer) != 3 or not isinstance(answer[1], list):
        raise ValueError("The bootnode's answer to a dial-back can't be read.")
    host, reached, was_tried = answer
    if was_tried is not True:
        return None
    if not isinstance(host, str):  # ip_address takes numbers and bytes as well
        raise ValueError("The bootnode's answer to a dial-back names no address.")
    ipaddress.ip_address(host)  # raises ValueError for anything that is no address
    open_ports = tuple(port for port in ports if port in reached)
    return Reachability(host=host, ports=tuple(ports), open_ports=open_ports)


async def meet(p2p: P2P, peer_id: PeerID, bootnodes: Sequence[PeerID]) -> bool:
    """Connect to a peer that libp2p finds no way to, at the addresses that a bootnode knows; whether it came about."""
    for bootnode in bootnodes:
        try:
            answer = await _ask(p2p, bootnode, ADDRESSES_PROTOCOL, peer_id.to_base58())
            listed = answer if isinstance(answer, list) else []
            # Nothing but plain TCP addresses is dialled, whatever a bootnode says.
            addresses = [Multiaddr(each) for each in listed if isinstance(each, str) and is_plain_tcp(each)]
            if addresses:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await p2p._client.connect(peer_id, addresses)
                return True
        except (TimeoutError, OSError, EOFError, ValueError, P2PDaemonError):
            logger.debug("Peer %s could not be met by what a bootnode knows.", peer_id, exc_info=True)
    return False


async def meet_anew(p2p: P2P, peer_id: PeerID) -> bool:
    """Give up the connection to a peer and have libp2p make another one, by what it knows; whether it came about."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await p2p._client.disconnect(peer_id)
            await p2p._client.connect(peer_id, [])
    except (TimeoutError, OSError, EOFError, P2PDaemonError):
        logger.debug("Peer %s could not be met anew.", peer_id, exc_info=True)
        return False
    return True


class ReachabilityWatch:
    """Has a bootnode dial this node now and then, and logs what is new."""

    def __init__(self, p2p: P2P, bootnodes: Sequence[PeerID]) -> None:
        self._p2p, self._bootnodes = p2p, list(bootnodes)
        self.latest: Reachability | None = None
        self._joined = asyncio.Event()

    def joined(self) -> None:
        """Contact with a bootnode was made (again); it may know nothing of this node any more."""
        self._joined.set()

    async def run(self) -> None:
        """For ever."""
        await self._joined.wait()
        pause = _FIRST_RETRY_SECONDS
        while True:
            self._joined.clear()
            is_known = await self._look()
            pause = _AGAIN_SECONDS if is_known else min(2 * pause, _AGAIN_SECONDS)
            try:
                async with asyncio.timeout(pause):
                    await self._joined.wait()
                    pause = _FIRST_RETRY_SECONDS
            except TimeoutError:
                continue

    async def _look(self) -> bool:
        for bootnode in self._bootnodes:
            try:
                found = await ask_dial_back(self._p2p, bootnode)
            except (TimeoutError, OSError, EOFError, ValueError, P2PDaemonError):
                logger.debug("Bootnode %s did not dial back.", bootnode, exc_info=True)
                continue
            if found is not None:
                self._say(found)
                return True
        return False

    def _say(self, found: Reachability) -> None:
        is_new = self.latest is None or bool(found.open_ports) != bool(self.latest.open_ports)
        if is_new and not ipaddress.ip_address(found.host).is_loopback:  # on one machine there is nothing to say
            logger.info("%s", found.in_words())
        self.latest = found


async def _ask(p2p: P2P, bootnode: PeerID, protocol: str, message: object) -> object:
    _, reader, writer = await open_stream(p2p, bootnode, protocol, timeout_seconds=_OPEN_SECONDS)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await send(writer, message)
            return await receive(reader)
    finally:
        writer.close()

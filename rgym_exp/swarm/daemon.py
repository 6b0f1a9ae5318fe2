"""Starting libp2p's daemon (hivemind's ``p2pd``) for one identity, with errors that people can act on.

The daemon ends with its Python parent, on SIGKILL too: it watches the persistent connection that the parent holds open.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import socket
from collections.abc import Sequence
from types import SimpleNamespace

import hivemind.dht.node
import hivemind.dht.protocol
import hivemind.dht.routing
from hivemind.p2p import P2P, p2p_daemon
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError
from hivemind.utils import timed_storage
from hivemind.utils.logging import use_hivemind_log_handler

from rgym_exp.base.ports import free_port, is_free
from rgym_exp.base.swarm_clock import SwarmClock
from rgym_exp.errors import SwarmError
from rgym_exp.swarm.identity import Identity

START_SECONDS = 20.0
_IDLE_SECONDS = 15.0  # a daemon that was never connected to (its parent died in between) ends after so long

logger = logging.getLogger("rl_swarm.swarm")

# A Ctrl-C goes to every process of the terminal's group, and p2pd would be gone before the node has taken its leave.
# hivemind has no setting for it, so its module is given an asyncio whose subprocesses get a session of their own.
_exec = functools.partial(asyncio.subprocess.create_subprocess_exec, start_new_session=True)
_subprocess = SimpleNamespace(**{**vars(asyncio.subprocess), "create_subprocess_exec": _exec})
p2p_daemon.asyncio = SimpleNamespace(**{**vars(asyncio), "subprocess": _subprocess})


# hivemind reads the machine's clock through a name that each of these modules holds.
_TELL_TIME = (timed_storage, hivemind.dht.node, hivemind.dht.protocol, hivemind.dht.routing)


def use_clock(clock: SwarmClock) -> None:
    """Have this process's DHT count expiry in the swarm's time.

    A node whose own clock is wrong would otherwise throw away what others publish, and publish what others throw away.
    """
    for module in _TELL_TIME:
        module.get_dht_time = clock.now


async def start_daemon(
    identity: Identity, *, host: str, port: int, announce: Sequence[str] = (), bootnodes: Sequence[str] = ()
) -> P2P:
    """Start p2pd and connect to it. It is told of no bootnode to dial, so an absent one can't keep it from starting.

    Raises:
        SwarmError: the address is no IP address, the port is taken, or the daemon doesn't come up in time.
    """
    use_hivemind_log_handler("nowhere")  # its messages go where ours go
    addresses = listen_addresses(host, port)
    is_local = ipaddress.ip_address(_literal(host)).is_loopback
    try:
        return await P2P.create(
            identity_path=str(identity.path),
            host_maddrs=addresses,
            announce_maddrs=list(announce) or None,
            # Behind NAT the bootnodes relay; from four of them on, libp2p also learns enough of the router to punch a
            # hole into it. On loopback there is no NAT, and nothing to ask a router for.
            use_auto_relay=bool(bootnodes) and not is_local,
            # A bootnode is in public by its calling. Left to find out, it would relay for nobody until others told it.
            force_reachability=None if bootnodes or is_local else "public",
            trusted_relays=None if is_local else list(bootnodes) or None,
            auto_nat=not is_local,
            nat_port_map=not is_local,
            check_if_identity_free=False,
            idle_timeout=_IDLE_SECONDS,
            startup_timeout=START_SECONDS,
        )
    except (P2PDaemonError, ValueError, OSError) as error:
        raise SwarmError(_explain(str(error), host, port)) from error


def listen_addresses(host: str, port: int) -> list[str]:
    """The multiaddrs to listen on: one, but 0.0.0.0 stands for all addresses of the machine, IPv6's among them.

    Raises:
        SwarmError: ``host`` is neither an IP address nor ``localhost``, or the port of all addresses is taken.
    """
    literal = _literal(host)
    try:
        version = ipaddress.ip_address(literal).version
    except ValueError:
        raise SwarmError(
            f"communications.host is {host!r}, which is no IP address. "
            "Use 127.0.0.1 for this machine only, or 0.0.0.0 to be reachable by others."
        ) from None
    if literal != "0.0.0.0":
        return [f"/ip{version}/{literal}/tcp/{port}"]
    if port and not is_free(literal, port):
        # The daemon itself would go on with IPv6 alone.
        raise SwarmError(_explain("address already in use", host, port))
    # One port for both, since people forward ports and the bootnode dials them.
    port = port or free_port(literal)
    return [f"/ip4/0.0.0.0/tcp/{port}", *([f"/ip6/::/tcp/{port}"] if _has_ipv6() else [])]


def _has_ipv6() -> bool:
    """Whether this machine has IPv6 at all; a kernel may be without."""
    return socket.has_ipv6 and is_free("::", 0)


def _literal(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def _explain(message: str, host: str, port: int) -> str:
    if "address already in use" in message:
        return (
            f"Port {port} on {host} is taken by another program (or another node), so the peer-to-peer daemon can't "
            "listen there. Stop that program, choose another communications.port, or set it to 0 for any free port."
        )
    if "permission denied" in message:
        return f"Listening on port {port} of {host} is not permitted. Choose a communications.port above 1023."
    if "cannot assign requested address" in message:
        return f"This machine has no address {host} to listen on. Set communications.host to 127.0.0.1 or 0.0.0.0."
    return f"The peer-to-peer daemon (p2pd) did not start: {message}"

"""What the doctor looks at around this machine: ports, clock, hub, bootnodes, chain."""

from __future__ import annotations

import json
import re
import socket
import time
from email.utils import parsedate_to_datetime

from rgym_exp.base.called import as_called
from rgym_exp.base.http_client import is_loopback
from rgym_exp.base.ports import is_free
from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.base.text import plain
from rgym_exp.commands.checks import Finding, failure, ok, warning
from rgym_exp.config.invite import note_on_version, read_invite
from rgym_exp.config.schema import NetworkConfig
from rgym_exp.errors import HubError, InviteError
from rgym_exp.hub.client import ask, hub_invite, hub_status
from rgym_exp.hub.hub_plan import DEFAULT_P2P_PORT, DEFAULT_PORT, DEFAULT_RPC_PORT

PORTS = {DEFAULT_PORT: "the hub's API", DEFAULT_P2P_PORT: "the hub's bootnode", DEFAULT_RPC_PORT: "the hub's chain"}
"""Ports that a hub takes unless told otherwise."""
CLOCK_SECONDS = 60.0
"""The swarm goes by the hub's clock; logins, certificates and people's logs are what a wrong one breaks."""
DIAL_SECONDS = 3.0

_MULTIADDR = re.compile(r"/(?:ip4|ip6|dns|dns4|dns6)/(?P<host>[^/]+)/tcp/(?P<port>\d+)(?:/|$)")


def is_own(hub_url: str | None) -> bool:
    """Whether the hub is one of this machine, which a run starts when it isn't there."""
    return hub_url is not None and is_loopback(hub_url)


def check_port(port: int, purpose: str, *, hub_url: str | None) -> Finding:
    """The port is free, or taken by our own hub."""
    if is_free("127.0.0.1", port):
        return ok(f"port {port} ({purpose}) is free")
    if hub_url is not None and purpose.startswith("the hub"):
        return ok(f"port {port} ({purpose}) is in use, by the running hub")
    return warning(
        f"port {port} ({purpose}) is taken by another program",
        f"Stop that program, or choose other ports when you need this one (`{as_called('hub')} --help`).",
    )


def check_clock(url: str, *, now: float | None = None) -> Finding:
    """This machine's clock against the ``Date`` of an HTTP server."""
    try:
        date = ask(url).headers.get("Date")
        theirs = parsedate_to_datetime(date or "").timestamp()
    except (HubError, ValueError, TypeError):
        return ok("clock not compared: no server to compare it with answers")
    off = (time.time() if now is None else now) - theirs
    if abs(off) > CLOCK_SECONDS:
        direction = "ahead of" if off > 0 else "behind"
        return warning(
            f"this machine's clock is {abs(off):.0f} s {direction} {url}",
            "Set the clock, or turn on its synchronisation (timedatectl set-ntp true).",
        )
    return ok(f"clock agrees with {url}")


def check_hub(network: NetworkConfig) -> Finding:
    """The hub answers."""
    if network.hub_url is None:
        return ok("this network has no hub to ask")
    try:
        status = hub_status(network.hub_url)
    except HubError as error:
        if is_own(network.hub_url):
            return ok(f"no hub at {network.hub_url} now: `{as_called('run')}` starts one")
        return failure(str(error), "Ask the host whether the hub runs and its port is open to you.")
    if status.get("trouble"):
        return warning(f"the hub has trouble: {plain(status['trouble'])}", "The host's logs/hub.log says more.")
    summary = f"round {status.get('round')}, {status.get('peer_count')} peers"
    return ok(f"hub {network.hub_url}: {plain(summary)}")


def check_version(hub_url: str) -> Finding:
    """The hub speaks what this version speaks, and can do what it makes use of."""
    try:
        note = note_on_version(read_invite(hub_invite(hub_url)))
    except (HubError, InviteError):
        return ok("version not compared: the hub gives no invite")
    if note is None:
        return ok("the hub speaks what this version speaks")
    what, _, remedy = note.removesuffix(".").rpartition(". ")
    return warning(what, f"{remedy}.")


def check_bootnode(multiaddr: str) -> Finding:
    """A TCP connection to the bootnode can be made."""
    parts = _MULTIADDR.match(multiaddr)
    if parts is None:
        return warning(f"bootnode {multiaddr} has no TCP address", "Ask for another bootnode.")
    try:
        socket.create_connection((parts["host"], int(parts["port"])), timeout=DIAL_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        return failure(
            f"bootnode {parts['host']}:{parts['port']} can't be reached ({error})",
            "Check that it runs, and that no firewall is in between (outgoing TCP to that port).",
        )
    return ok(f"bootnode {parts['host']}:{parts['port']} can be reached")


def check_chain(network: NetworkConfig) -> Finding:
    """The RPC answers for the right chain, and the contract is there."""
    if network.rpc_url is None:
        return ok("this network has no chain to ask yet")
    try:
        chain_id = int(_call(network.rpc_url, "eth_chainId", []), 16)
        code = code_at(network.rpc_url, network.coordinator_address or f"0x{'0' * 40}")
    except (HubError, ValueError, TypeError, KeyError) as error:
        return failure(
            f"the chain does not answer: {error}",
            "Check the address (blockchain.rpc_url) and your network; rewards wait in the outbox meanwhile.",
        )
    if network.chain_id is not None and chain_id != network.chain_id:
        return failure(
            f"{network.rpc_url} serves chain {chain_id}, but the network is on chain {network.chain_id}",
            "Use the RPC address of that chain (blockchain.rpc_url).",
        )
    if network.coordinator_address and len(code) <= 2:
        return failure(
            f"there is no contract at {network.coordinator_address} on chain {chain_id}",
            "Ask the host for a new invite: the chain may have been started anew.",
        )
    return ok(f"chain {chain_id} answers" + (", contract found" if network.coordinator_address else ""))


def code_at(rpc_url: str, address: str) -> str:
    """The code at an address, 0x-hex; raises HubError, ValueError, KeyError or TypeError without a proper answer."""
    return _call(rpc_url, "eth_getCode", [address, "latest"])


def _call(rpc_url: str, method: str, params: list[str]) -> str:
    """One JSON-RPC read; raises HubError, ValueError, KeyError or TypeError when there is no proper answer."""
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    answer = shallow_json(ask(rpc_url, data=request.encode(), timeout_seconds=10.0).body)
    return str(answer["result"])

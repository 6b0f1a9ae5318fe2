"""``rl-swarm status``: am I taking part?"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rgym_exp.base.called import as_called
from rgym_exp.base.files import last_lines
from rgym_exp.base.text import plain
from rgym_exp.config.paths import Home
from rgym_exp.config.schema import NetworkConfig
from rgym_exp.errors import SwarmUserError
from rgym_exp.observe.metrics import from_json
from rgym_exp.types import round_name

if TYPE_CHECKING:
    from rgym_exp.chain.coordinator import PeerTotals

EPILOG = """examples:
  rl-swarm status
  rl-swarm status --hub http://192.0.2.7:8600

Works whether the node runs or not; what can't be reached is said and left out."""

PEERS_SHOWN = 15
RECENT_ROUNDS = 1
"""A peer takes part when it announced the current round or this many before it."""
METRICS_TAIL_BYTES = 64 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``rl-swarm status``."""
    parser.epilog = EPILOG
    parser.add_argument("--hub", metavar="URL", help="the hub to ask (default: that of the last run)")


def execute(args: argparse.Namespace) -> int:
    """Print what is known from the hub, the contract, the outbox and the last run's metrics."""
    for line in report(args.home, hub_url=args.hub):
        print(line, flush=True)
    return 0


def report(home: Home, *, hub_url: str | None = None) -> Iterator[str]:
    """The lines of the report."""
    from rgym_exp.commands.where import network_of

    network = network_of(home)
    peer_id = ""
    for name, value in _me(home):
        peer_id = value if name == "peer id" else peer_id
        yield _line(name, value)
    address = hub_url or network.hub_url
    hub = None
    if address:
        hub, lines = _swarm(address, peer_id)
        yield from lines
    login = None
    if network.coordinator == "modal":
        login, said = _login(network)
        yield _line("login", said)
    yield from _chain(home, network, hub, peer_id, login)
    yield from _last_round(home)


def _me(home: Home) -> Iterator[tuple[str, str]]:
    """Who this node is."""
    from rgym_exp.swarm.identity import load_identity
    from rgym_exp.swarm.names import animal_name

    if not home.identity.exists():
        yield "me", f"no identity in {home.root} yet; the first `{as_called('run')}` makes one"
        return
    peer_id = load_identity(home.identity).peer_id
    yield "me", animal_name(peer_id)
    yield "peer id", peer_id


def _swarm(hub_url: str, peer_id: str) -> tuple[Mapping[str, Any] | None, list[str]]:
    """What the hub says, and the lines for it."""
    from rgym_exp.errors import HubError
    from rgym_exp.hub.client import hub_status

    try:
        hub = hub_status(hub_url)
    except HubError as error:
        return None, [_line("hub", f"{plain(error)} It may not run now; `{as_called('doctor')}` looks closer.")]
    lines = [
        _line("swarm", f"{plain(hub['swarm_id'])} at {hub_url}, tasks {plain(hub.get('tasks'))}"),
        _line("round", f"{plain(hub.get('round'))}, stage {plain(hub.get('stage'))}, {_lasting(hub)}"),
    ]
    if hub.get("trouble"):
        lines.append(_line("trouble", plain(hub["trouble"])))
    peers = [peer for peer in hub.get("peers") or [] if isinstance(peer, Mapping)]
    if peer_id:
        lines.append(_line("taking part", _taking_part(peers, hub.get("round"), peer_id)))
    lines.append(_line("peers", plain(hub.get("peer_count", len(peers)))))
    lines += [_peer_line(peer, peer_id) for peer in peers[:PEERS_SHOWN]]
    if len(peers) > PEERS_SHOWN:
        lines.append(f"             ... and {len(peers) - PEERS_SHOWN} more")
    return hub, lines


def _lasting(hub: Mapping[str, Any]) -> str:
    """How long the round has lasted and who is done."""
    return f"begun {plain(hub.get('round_seconds'))} s ago, {plain(hub.get('announced'))} peers are done with it"


def _taking_part(peers: list[Mapping[str, Any]], round: Any, peer_id: str) -> str:
    """Yes or no, and from what it is seen."""
    last = next((peer.get("last_round") for peer in peers if peer.get("peer_id") == peer_id), None)
    if not isinstance(last, int) or not isinstance(round, int):
        return "no: this node has not shared anything in the last rounds"
    if round - last > RECENT_ROUNDS:
        return f"not now: this node's last shared round is {last}"
    return f"yes: shared round {last}"


def _peer_line(peer: Mapping[str, Any], peer_id: str) -> str:
    me = "  (me)" if peer_id and peer.get("peer_id") == peer_id else ""
    reward = peer.get("mean_reward")
    worth = f"{reward:.2f}" if isinstance(reward, int | float) else "-"
    return (
        f"             {plain(peer.get('name')):<32} round {plain(peer.get('last_round')):<6} "
        f"reward {worth}  {plain(peer.get('model_name'))}{me}"
    )


def _login(network: NetworkConfig) -> tuple[str | None, str]:
    """The account that the login server knows, if any, and a sentence on it."""
    from rgym_exp.chain.login_client import LoginClient
    from rgym_exp.config.paths import login_token_file

    url = network.login_url or "http://127.0.0.1:3000/api"
    try:
        account = LoginClient(url, login_token_file(wallet=network.login_wallet)).account()
    except SwarmUserError:
        return None, f"its server does not run now; `{as_called('run')}` and `{as_called('login')}` start it"
    if account is None:
        return None, f"nobody is logged in: `{as_called('login')}`"
    return account.address, plain(f"{account.address or account.email or 'an account'}, {account.activation}")


def _chain(
    home: Home, network: NetworkConfig, hub: Mapping[str, Any] | None, peer_id: str, login: str | None
) -> Iterator[str]:
    """My totals on the contract and what is still to be sent. Needs an answer from nobody for the second."""
    chain_id = network.chain_id or (hub or {}).get("chain_id")
    contract = network.coordinator_address or (hub or {}).get("contract")
    rpc_url = network.rpc_url or (f"{network.hub_url}/rpc" if network.hub_url else None)
    # With the hub away, so is its RPC proxy: that was said already.
    away = hub is None and network.hub_url is not None and str(rpc_url).startswith(network.hub_url)
    if contract and rpc_url and peer_id and not away:
        try:
            yield from _totals_lines(_peer_totals(rpc_url, str(contract), chain_id, peer_id))
        except SwarmUserError as error:
            yield _line("contract", plain(error))
    if contract:
        yield from _outbox_lines(home, str(contract), chain_id or str(rpc_url), login)


def _peer_totals(rpc_url: str, contract: str, chain_id: Any, peer_id: str) -> PeerTotals:
    """What the contract says about the peer; raises a ChainError."""
    from rgym_exp.chain.contract import SwarmContract
    from rgym_exp.chain.contract_coordinator import read_peer_totals

    return read_peer_totals(SwarmContract(rpc_url, contract, chain_id=chain_id), peer_id)


def _totals_lines(totals: PeerTotals) -> Iterator[str]:
    if totals.registered_to is None:
        yield _line("contract", "this peer is not registered yet")
        return
    yield _line("account", totals.registered_to)
    yield _line("my reward", str(totals.total_reward))
    yield _line("my votes", str(totals.total_wins))


def _outbox_lines(home: Home, contract: str, chain: int | str, login: str | None) -> Iterator[str]:
    """Transactions on the way and the last few."""
    from rgym_exp.chain.outbox_reading import read_outbox
    from rgym_exp.chain.outbox_rows import target_of
    from rgym_exp.commands.identity import account_of

    account = login or account_of(home)
    if not home.outbox.exists() or not account:
        yield _line("outbox", "empty: this node has not owed the contract anything yet")
        return
    pending, newest = read_outbox(home.outbox, target=target_of(contract, chain), account=account)
    yield _line("outbox", f"{pending} waiting to be confirmed" if pending else "everything is confirmed")
    for transaction in newest:
        detail = f": {plain(transaction.detail)}" if transaction.detail else ""
        yield f"             {transaction.title} {transaction.status}, {_ago(transaction.time)}{detail}"


def _last_round(home: Home) -> Iterator[str]:
    """The last whole line of ``logs/metrics.jsonl``: what this node did last, by its own account."""
    try:
        lines = last_lines(home.logs / "metrics.jsonl", max_bytes=METRICS_TAIL_BYTES)
    except OSError:
        return
    for line in reversed(lines[-2:]):  # a node that was killed leaves a torn last line
        try:
            last = from_json(line)
        except ValueError:
            continue
        if last.is_before_training:
            yield _line("last round", f"none yet; held-out accuracy before training {last.held_out or 0.0:.2f}")
            return
        told = f"{round_name(last.number)}, {_ago(last.time)}: reward {last.local_reward:.2f}"
        told += f"; this node has played {last.step}"
        yield _line("last round", told)
        return


def _ago(moment: float) -> str:
    """How long ago a moment is, in one unit."""
    seconds = max(0.0, time.time() - moment)
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _line(name: str, value: str) -> str:
    return f"{name:<12} {value}"

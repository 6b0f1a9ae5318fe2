"""``rl-swarm hub``: host a swarm."""

from __future__ import annotations

import argparse
import asyncio
import signal
from functools import partial
from typing import TYPE_CHECKING

from rgym_exp.base.stop_signals import let_go_of_the_terminal, stop_signals

if TYPE_CHECKING:
    from rgym_exp.config.invite import Invite
    from rgym_exp.hub.hub_plan import HubPlan

EPILOG = """examples:
  rl-swarm hub                                        a swarm for this machine
  rl-swarm hub --host 0.0.0.0                         a swarm for this network; open ports 8600 and 38600
  rl-swarm hub --host 0.0.0.0 --public-host swarm.example.org
  rl-swarm hub --host 0.0.0.0 --public-url https://swarm.example.org --trusted-proxy 127.0.0.1
                                                      behind a reverse proxy on this machine, which has the certificate
  rl-swarm hub --rpc-url https://rpc.example.org --contract 0x...   on a chain of your choice, with your owner key
                                                      in .rl-swarm/hub/owner.key

Started again from the same folder it is the same swarm, and the invites that you gave away stay good."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``rl-swarm hub``."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 lets other machines in, and :: those that have IPv6 alone "
        "(default: %(default)s)",
    )
    add("--public-host", metavar="NAME", help="name or address that joiners use (default: --host, or this machine's)")
    add(
        "--public-url",
        metavar="URL",
        help="what invites name as the hub, where a reverse proxy (with TLS, say) stands before its API; its name is "
        "also the bootnode's unless --public-host names another",
    )
    add(
        "--trusted-proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="address or network of such a proxy, as the hub sees it: limits then count the clients that its "
        "X-Forwarded-For names (may be given several times)",
    )
    add("--port", type=_port, help="port of the HTTP API (default: 8600)")
    add("--p2p-port", type=_port, metavar="PORT", help="port of the bootnode (default: 38600)")
    add(
        "--rpc-port",
        type=_port,
        metavar="PORT",
        help="port of the chain, on loopback only (default: 8645, or any free)",
    )
    add("--tasks", metavar="NAME", help="tasks of the swarm: a name in rgym_exp/config/tasks/ (default: starter)")
    add(
        "--model",
        metavar="NAME",
        help="joiners' model unless they choose one (default: SmolLM2 for the starter tasks)",
    )
    add(
        "--round-limit",
        type=_seconds,
        default=120.0,
        metavar="SECONDS",
        help="a round ends after this long although somebody is missing (default: %(default)g)",
    )
    add(
        "--round-minimum",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="no round is shorter than this (default: %(default)g)",
    )
    add("--rpc-url", metavar="URL", help="use this chain instead of one of the hub's own")
    add("--contract", metavar="ADDRESS", help="with --rpc-url: an existing SwarmCoordinator (default: a new one)")
    add("--no-market", action="store_true", help="run no prediction market")
    add("--no-judge", action="store_true", help="evaluate nobody; there is no prediction market then either")
    add(
        "--stop-with-parent", action="store_true", help="end when standard input closes (for programs that start a hub)"
    )


def execute(args: argparse.Namespace) -> int:
    """Run the hub until it is told to stop."""
    import uvloop

    from rgym_exp.base.open_files import raise_open_files_limit
    from rgym_exp.hub.hub_plan import HubOptions, planned
    from rgym_exp.hub.keeper import RoundLimits
    from rgym_exp.observe.logs import setup_logging

    setup_logging(args.home.logs / "hub.log", "INFO", console=not args.stop_with_parent)
    options = HubOptions(
        host=args.host,
        public_host=args.public_host,
        public_url=args.public_url,
        trusted_proxies=tuple(args.trusted_proxy),
        port=args.port,
        p2p_port=args.p2p_port,
        rpc_port=args.rpc_port,
        tasks=args.tasks,
        model_name=args.model,
        limits=RoundLimits(longest=args.round_limit, shortest=args.round_minimum),
        rpc_url=args.rpc_url,
        contract=args.contract,
        judge=not args.no_judge,
        market=not (args.no_judge or args.no_market),
    )
    # Before anything else is started, which inherits it.
    raise_open_files_limit()
    with planned(args.home, options) as plan, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # Many small requests at once: quicker than asyncio's own loop.
        runner.run(_serve(plan, stop_with_parent=args.stop_with_parent))
    return 0


async def _serve(plan: HubPlan, *, stop_with_parent: bool) -> None:
    """Run the hub, heeding the ways in which it can be told to stop."""
    from rgym_exp.base.parent import when_parent_is_gone

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in stop_signals():
        loop.add_signal_handler(sign, _stop_by, sign, stop)
    if stop_with_parent:
        when_parent_is_gone(partial(loop.call_soon_threadsafe, stop.set))

    # Loads the peer-to-peer library, which takes seconds: only now, when nothing is in the way.
    from rgym_exp.hub.hub import serve

    await serve(plan, stop=stop, on_ready=_print_invite)


def _stop_by(sign: signal.Signals, stop: asyncio.Event) -> None:
    if sign == signal.SIGHUP:
        let_go_of_the_terminal()
    stop.set()


def _print_invite(invite: Invite) -> None:
    """Tell the host what to hand to joiners."""
    text = invite.encode()
    print(
        f"\nThe swarm {invite.swarm_id} is open at {invite.hub_url} (status: {invite.hub_url}/status).\n"
        f"Whoever wants to join types:\n\n  ./run_rl_swarm.sh --join {text}\n\n"
        f"or, shorter, where this address can be reached:\n\n  ./run_rl_swarm.sh --join {invite.hub_url}/invite\n\n"
        f"Ctrl-C closes the swarm; started again from the same folder it goes on.\n",
        flush=True,
    )


def _port(text: str) -> int:
    """A port number; argparse words the error."""
    port = int(text)
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port (1 to 65535)")
    return port


def _seconds(text: str) -> float:
    """A length of time; argparse words the error."""
    seconds = float(text)
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is no length of time in seconds")
    return seconds

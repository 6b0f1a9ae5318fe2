"""``rl-swarm doctor``: checks this machine and says what to repair."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from rgym_exp.commands.checks import Finding
from rgym_exp.config.paths import Home
from rgym_exp.config.schema import NetworkConfig

EPILOG = """examples:
  rl-swarm doctor                       before the first run, or when something is odd
  rl-swarm doctor --join rlswarm1:...   can this swarm be reached from here?

Exits with 1 when something must be repaired, 0 otherwise."""

MARKS = {"ok": "  ok     ", "warning": "  warning", "failure": "  FAILURE"}
COLOURS = {"ok": "\033[32m", "warning": "\033[33m", "failure": "\033[31m"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``rl-swarm doctor``."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--join", metavar="INVITE", help="check the swarm of this invite (default: that of the last run)"
    )


def execute(args: argparse.Namespace) -> int:
    """Print one line per check, as soon as it is known."""
    from rgym_exp.commands.where import network_of
    from rgym_exp.config.invite import read_invite

    network = read_invite(args.join).network() if args.join else network_of(args.home)
    counts = {"ok": 0, "warning": 0, "failure": 0}
    for finding in findings(args.home, network):
        counts[finding.level] += 1
        print(worded(finding, colour=sys.stdout.isatty()), flush=True)
    if counts["failure"]:
        print(f"\n{counts['failure']} to repair, {counts['warning']} to look at.")
        return 1
    print("\nReady." if not counts["warning"] else f"\nReady, with {counts['warning']} to look at.")
    return 0


def findings(home: Home, network: NetworkConfig) -> Iterator[Finding]:
    """Every check in turn; slow ones last."""
    from rgym_exp.commands import checks, login_checks, network_checks

    yield checks.check_python()
    yield checks.check_disk(home)
    yield checks.check_folders(home)
    yield checks.check_memory()
    yield checks.check_identity(home)
    yield checks.check_config(home)
    yield checks.check_models()
    yield checks.check_p2pd()
    yield checks.check_chain_program()
    yield login_checks.check_node_js()
    yield login_checks.check_login_app()
    yield login_checks.check_login_port(network)
    yield login_checks.check_login_files(network)
    yield login_checks.check_account(home, network)
    running = _own_hub_running(network)
    for port, purpose in network_checks.PORTS.items():
        yield network_checks.check_port(port, purpose, hub_url=running)
    yield network_checks.check_hub(network)
    if running is not None or not network_checks.is_own(network.hub_url):
        # With the own hub down, its chain and bootnode are down as well, and that is no fault.
        yield from _beyond_the_hub(home, network)
    yield checks.check_accelerator()


def _beyond_the_hub(home: Home, network: NetworkConfig) -> Iterator[Finding]:
    """The checks that need the network's servers."""
    from rgym_exp.commands import judge_checks, network_checks, reachability_checks

    if network.hub_url or network.rpc_url:
        yield network_checks.check_clock(f"{network.hub_url}/invite" if network.hub_url else str(network.rpc_url))
    if network.hub_url:
        yield network_checks.check_version(network.hub_url)
    for bootnode in network.bootnodes:
        yield network_checks.check_bootnode(bootnode)
    if network.bootnodes:
        yield reachability_checks.check_reachability(home, network.bootnodes)
    yield network_checks.check_chain(network)
    yield judge_checks.check_judge(network)
    yield judge_checks.check_market(network)


def _own_hub_running(network: NetworkConfig) -> str | None:
    """The address of the hub on this machine, if it answers."""
    from rgym_exp.commands.network_checks import is_own
    from rgym_exp.errors import HubError
    from rgym_exp.hub.client import hub_status

    try:
        return network.hub_url if network.hub_url and is_own(network.hub_url) and hub_status(network.hub_url) else None
    except HubError:
        return None


def worded(finding: Finding, *, colour: bool) -> str:
    """The line a person reads, with the remedy below it."""
    mark = f"{COLOURS[finding.level]}{MARKS[finding.level]}\033[0m" if colour else MARKS[finding.level]
    remedy = f"\n           -> {finding.remedy}" if finding.remedy else ""
    return f"{mark}  {finding.what}{remedy}"

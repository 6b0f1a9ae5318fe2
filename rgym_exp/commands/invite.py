"""``rl-swarm invite``: the invite of a running hub, or what an invite says."""

from __future__ import annotations

import argparse
import time

from rgym_exp.base.called import as_called

EPILOG = """examples:
  rl-swarm invite                       the invite of the hub on this machine
  rl-swarm invite rlswarm1:...          what is in this invite (also a file or an address), before you join"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``rl-swarm invite``."""
    parser.epilog = EPILOG
    parser.add_argument("invite", nargs="?", metavar="INVITE", help="an invite, a file with one, or its web address")
    parser.add_argument("--hub", metavar="URL", help="the hub to ask (default: the one on this machine)")


def execute(args: argparse.Namespace) -> int:
    """Print the invite, or what is in the given one."""
    if args.invite:
        print(describe(args.invite))
        return 0
    from rgym_exp.commands.where import hub_url_of
    from rgym_exp.errors import HubError
    from rgym_exp.hub.client import hub_invite

    hub_url = args.hub or hub_url_of(args.home)
    try:
        print(hub_invite(hub_url))
    except HubError as error:
        raise HubError(f"{error} Start a hub with `{as_called('hub')}`, or name one with `--hub URL`.") from error
    return 0


def describe(text: str) -> str:
    """What an invite says, line by line. Raises an InviteError when it is none."""
    from rgym_exp.config.invite import read_invite

    invite = read_invite(text)
    expires = "never" if invite.expires is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(invite.expires))
    lines = {
        "swarm": invite.swarm_id,
        "tasks": invite.tasks,
        "model": invite.model_name,
        "hub": invite.hub_url,
        "chain": f"{invite.chain_id} at {invite.rpc_url}",
        "contract": invite.coordinator_address,
        "bootnodes": ", ".join(invite.bootnodes),
        "protocol": " ".join([str(invite.protocol), *invite.capabilities]),
        "expires": expires,
    }
    return "\n".join(f"{name:<10} {value}" for name, value in lines.items())

"""``rl-swarm leaderboard``: how the swarm's peers stand."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from rgym_exp.base.called import as_called
from rgym_exp.base.text import plain
from rgym_exp.config.paths import Home

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from rgym_exp.hub.leaderboard_page import Page
    from rgym_exp.hub.ranking import RankedPeer

EPILOG = """examples:
  rl-swarm leaderboard                          the swarm of this node's last run, or of this machine's hub
  rl-swarm leaderboard --join rlswarm1:...      a swarm that you haven't joined (yet)
  rl-swarm leaderboard --json                   for programs

Part is the share of the swarm's rounds, since a peer's first, that it took part in. Reward is what peers report
of themselves, votes what others say of them; all three are in the swarm's contract.
Judged is the share of the hub's own questions that a peer answered right, with its 95 % confidence interval;
a ? says that it left more than half of them unanswered."""

DEFAULT_LIMIT = 50
MOST = 500
MODEL_FROM_COLUMNS = 112
"""Terminals narrower than this leave the models out: the other columns need 80."""
_NAME_COLUMNS = 28
"""Most names are shorter; a longer one loses its end, so that no number does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``rl-swarm leaderboard``."""
    parser.epilog = EPILOG
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--hub", metavar="URL", help="the hub to ask (default: that of the last run)")
    where.add_argument("--join", metavar="INVITE", help="ask the hub that this invite names")
    parser.add_argument("--json", action="store_true", help="print what the hub says as JSON")
    parser.add_argument(
        "--limit", type=_limit, default=DEFAULT_LIMIT, metavar="N", help=f"how many peers (default {DEFAULT_LIMIT})"
    )


def execute(args: argparse.Namespace) -> int:
    """Ask the hub and print its table."""
    from rgym_exp.errors import HubError
    from rgym_exp.hub.client import hub_leaderboard

    hub_url = _hub_url(args)
    try:
        page = hub_leaderboard(hub_url, limit=args.limit)
    except HubError as error:
        raise HubError(
            f"{plain(error)} No leaderboard without a hub (of this version or later): start one with "
            f"`{as_called('hub')}`, "
            "or name one with `--hub URL` or `--join INVITE`."
        ) from error
    if args.json:
        print(json.dumps(page.as_json(), indent=2))
        return 0
    from rich.console import Console

    show(page, me=_own_peer_id(args.home), console=Console(highlight=False))
    return 0


def show(page: Page, *, me: str, console: Console) -> None:
    """Print the page. ``me``: this node's peer id, "" when it has none."""
    from rich.text import Text

    shown = f", the first {len(page.peers)}" if len(page.peers) < page.peer_count else ""
    count = "1 peer" if page.peer_count == 1 else f"{page.peer_count} peers"
    console.print(Text(f"Round {page.round}. {count}{shown}; as of {page.updated:.0f} s ago."))
    if page.trouble:
        console.print(Text(f"Not up to date: {plain(page.trouble)}", style="yellow"))
    if not page.peers:
        console.print(Text("Nobody has reported a reward yet; that takes a node one round."))
        return
    console.print(_table(page, me, with_models=console.width >= MODEL_FROM_COLUMNS))
    if any(peer.judged and peer.judged.is_choosy for peer in page.peers):
        console.print(Text("? left more than half of the judge's questions unanswered"))
    if me and any(peer.peer_id == me for peer in page.peers):
        console.print(Text("* this node"))
    elif me:
        console.print(Text("This node is not among them: its first reward has not been counted, or it stands lower."))


def _table(page: Page, me: str, *, with_models: bool) -> Table:
    """Columns that hold nothing are left out."""
    from rich.table import Table
    from rich.text import Text

    from rgym_exp.hub.leaderboard_page import accuracy_text, tokens_text

    judged = any(peer.judged for peer in page.peers)
    market = any(peer.bet_tokens is not None for peer in page.peers)
    models = with_models and any(peer.model_name for peer in page.peers)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("name", no_wrap=True, max_width=_NAME_COLUMNS)
    numbers = ["rounds", "part", "reward", "votes", *["judged"] * judged, *["tokens"] * market]
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    if models:
        table.add_column("model", no_wrap=True, overflow="ellipsis")

    def cells(place: int, peer: RankedPeer) -> list[str]:
        found = [f"{'*' * (peer.peer_id == me)}{place}", peer.name, str(peer.rounds), f"{peer.participation:.0%}"]
        found += [_short(peer.reward), _short(peer.wins)]
        found += [accuracy_text(peer.judged)] * judged + [tokens_text(peer.bet_tokens)] * market
        return found + [plain(peer.model_name or "-")] * models

    for place, peer in enumerate(page.peers, start=1):
        # Text, not str: in a str, rich would look for markup.
        row = [Text(cell) for cell in cells(place, peer)]
        table.add_row(*row, style="bold green" if peer.peer_id == me else None)
    return table


def _short(number: int) -> str:
    """A number in at most seven characters: beyond a million in powers of ten."""
    return str(number) if abs(number) < 10**6 else f"{number:.1e}".replace("e+0", "e").replace("e+", "e")


def _hub_url(args: argparse.Namespace) -> str:
    from rgym_exp.commands.where import hub_url_in, hub_url_of

    if args.join:
        return hub_url_in(args.join)
    return str(args.hub or hub_url_of(args.home))


def _own_peer_id(home: Home) -> str:
    """This node's; "" when it has no identity yet."""
    if not home.identity.exists():
        return ""
    from rgym_exp.swarm.identity import load_identity

    return load_identity(home.identity).peer_id


def _limit(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MOST:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {MOST}")

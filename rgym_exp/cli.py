"""The ``rl-swarm`` command: finds the command's module, hands it its arguments, and words its failures.

Every module in ``rgym_exp.commands`` has ``add_arguments(parser)`` and ``execute(args) -> int``; ``args.home`` is a
``Home`` by then. Only the chosen one is imported, so ``rl-swarm --help`` answers without torch, hivemind or web3.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from rgym_exp import __version__
from rgym_exp.base.called import as_called, examples_as_called, path_for_user
from rgym_exp.base.machine_errors import sentence_of
from rgym_exp.config.paths import Home
from rgym_exp.errors import SwarmUserError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("rgym_exp.commands.run", "take part in a swarm: answer, share, train, vote"),
    "hub": ("rgym_exp.commands.hub", "host a swarm of your own and print its invite"),
    "invite": ("rgym_exp.commands.invite", "show the invite of your hub, or what is in an invite"),
    "status": ("rgym_exp.commands.status", "show round, peers, your reward and your waiting transactions"),
    "leaderboard": ("rgym_exp.commands.leaderboard", "show the swarm's peers: rounds, rewards, votes, accuracy"),
    "plot": ("rgym_exp.commands.plot", "draw reward, held-out accuracy and time of a run, or of several side by side"),
    "login": ("rgym_exp.commands.login", "get an account, in a browser or as a key file"),
    "identity": ("rgym_exp.commands.identity", "show, back up or restore who you are in the swarm"),
    "doctor": ("rgym_exp.commands.doctor", "check this machine and say what to repair"),
}
"""Command -> (module, the line in ``--help``)."""

LOG_NAMES: Mapping[str, str] = {"run": "swarm.log"}
"""Where a command logs, when that isn't ``<command>.log``."""

_NEVER_EMPTY = ("home", "join", "network", "hub")
"""Options that say where to take part. Empty they would silently mean a swarm or a folder that nobody meant."""

EPILOG = """examples:
  rl-swarm run                          train in a swarm of your own on this machine
  rl-swarm run --join rlswarm1:...      train in somebody's swarm
  rl-swarm hub --host 0.0.0.0           host a swarm that others can join
  rl-swarm login                        an account for a network with a browser login
  rl-swarm status                       am I taking part?
  rl-swarm leaderboard                  who has earned most?
  rl-swarm doctor                       what is wrong with this machine?

`rl-swarm COMMAND --help` says more about each."""


class _Help(argparse.RawDescriptionHelpFormatter):
    """argparse's own, with room for the longest command: it counts commands as if they weren't indented, and then
    breaks the line after a name like "leaderboard"."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = max(map(len, COMMANDS)) + 2 * self._indent_increment


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status: 0 well, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = arguments[0] if arguments and arguments[0] in COMMANDS else None
    if chosen is None and arguments and not arguments[0].startswith("-"):
        near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        build_parser(None).error(f"there is no command {arguments[0]!r}{hint} There are {', '.join(COMMANDS)}.")
    try:
        parser = build_parser(chosen)
    except KeyboardInterrupt:  # Importing the command's module takes a moment.
        print(f"rl-swarm {chosen}: stopped.", file=sys.stderr)
        return 130
    args, rest = parser.parse_known_args(arguments)
    # argparse takes KEY=VALUE words from one place only; an option between two of them is no mistake.
    if rest and hasattr(args, "overrides") and not any(word.startswith("-") for word in rest):
        args.overrides += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}{_hint(rest, args)}")
    for option in _NEVER_EMPTY:
        if getattr(args, option, None) == "":
            parser.error(f"--{option} is empty. Is the variable set that should stand there?")
    if args.command is None:
        build_parser(None).print_help(sys.stderr)
        return 2
    return _execute(args)


def _hint(unknown: Sequence[str], args: argparse.Namespace) -> str:
    known = [f"--{name.replace('_', '-')}" for name in vars(args)]
    words = (word.partition("=")[0] for word in unknown)
    near = [close[0] for word in words if (close := difflib.get_close_matches(word, known, n=1))]
    return f". Did you mean {', '.join(near)}?" if near else ""


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser with every command's name, and the arguments of the chosen one (the only one imported)."""
    parser = argparse.ArgumentParser(
        prog=as_called(),
        description="Train your own language model by reinforcement learning, together with a swarm.",
        epilog=examples_as_called(EPILOG),
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"rl-swarm {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, (module_name, summary) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument(
            "--home",
            metavar="DIR",
            help="folder that keeps swarm.pem, configs/, logs/ and state (default: $RL_SWARM_HOME or the current one)",
        )
        if name == chosen:
            module = importlib.import_module(module_name)
            module.add_arguments(command)
            command.epilog = examples_as_called(command.epilog or "")
            command.set_defaults(execute=module.execute)
    return parser


def _execute(args: argparse.Namespace) -> int:
    """Run the command; a failure becomes one sentence on stderr and, where there is one, the log's path."""
    try:
        args.home = Home.locate(args.home)
    except FileNotFoundError:
        print(f"rl-swarm {args.command}: The current folder is no more. Go to another one.", file=sys.stderr)
        return 1
    log_file: Path = args.home.logs / LOG_NAMES.get(args.command, f"{args.command}.log")
    started = time.time()
    try:
        return int(args.execute(args))
    except SwarmUserError as error:
        print(f"rl-swarm {args.command}: {error}", file=sys.stderr)
        if log_file.exists() and log_file.stat().st_mtime >= started - 1:
            print(f"log: {path_for_user(log_file)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"rl-swarm {args.command}: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (`| head`) has gone; without this, closing stdout complains once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        _tell(args.command, error, log_file)
        return 1


def _tell(command: str, error: Exception, log_file: Path) -> None:
    """The last border before the terminal: kept whole in the log and short on the screen."""
    where = _keep_traceback(log_file)
    if isinstance(error, OSError) and (sentence := sentence_of(error)) is not None:
        print(f"rl-swarm {command}: {sentence}", file=sys.stderr)
        if where:
            print(f"log: {path_for_user(where)}", file=sys.stderr)
        return
    # A mistake of ours.
    name = type(error).__name__
    print(f"rl-swarm {command}: unexpected {name}: {error}. Please report it with the log.", file=sys.stderr)
    print(f"log: {path_for_user(where)}" if where else traceback.format_exc(), file=sys.stderr)


def _keep_traceback(log_file: Path) -> Path | None:
    """Append the current exception's traceback to the log; None when the log can't be written."""
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} ERROR unexpected end\n{traceback.format_exc()}\n")
    except OSError:
        return None
    return log_file


if __name__ == "__main__":
    sys.exit(main())

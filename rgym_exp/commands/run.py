"""``rl-swarm run``: take part in a swarm."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rgym_exp.base.signal_watch import SignalWatch
from rgym_exp.commands.account_mode import account_mode, node_page, with_account
from rgym_exp.config.environment import hugging_face_token, secrets_in
from rgym_exp.config.invite import read_invite
from rgym_exp.config.launch import Launch, take_launch
from rgym_exp.config.load import load_with_notes
from rgym_exp.config.paths import Home, cache_dir
from rgym_exp.config.schema import Config
from rgym_exp.node.before_loading import check_before_loading
from rgym_exp.node.lock import only_node_of, only_node_with_identity
from rgym_exp.observe.logs import setup_logging
from rgym_exp.observe.progress import wants_live

if TYPE_CHECKING:
    from rgym_exp.hub.local_hub import LocalHub
    from rgym_exp.login.node_page import NodePage

EPILOG = """examples:
  rl-swarm run                                    a swarm of your own, on this machine
  rl-swarm run --rounds 20                        the same, for twenty rounds
  rl-swarm run --join rlswarm1:...                somebody's swarm
  rl-swarm run training.num_generations=4         any key of configs/rg-swarm.yaml

Ctrl-C once finishes cleanly and writes a checkpoint; twice ends at once."""

logger = logging.getLogger("rl_swarm.run")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``rl-swarm run``."""
    parser.epilog = EPILOG
    parser.add_argument("--network", metavar="NAME", help="local (default), gensyn-testnet or offline")
    parser.add_argument("--join", metavar="INVITE", help="an invite: the line itself, a file or a URL")
    parser.add_argument("--rounds", type=int, metavar="N", help="stop after N rounds")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of configs/rg-swarm.yaml (Hydra)")


def execute(args: argparse.Namespace) -> int:
    """Play until stopped; 0 after a clean end."""
    home: Home = args.home
    launch = take_launch(os.environ)
    _prepare_libraries()
    if launch is not None and launch.rank > 0:
        return _help_rank_zero(home, launch)
    overrides = list(args.overrides)
    if args.rounds is not None:
        overrides.append(f"training.max_rounds={args.rounds}")
    invite = read_invite(args.join) if args.join else None
    config, notes = load_with_notes(home, network=args.network, invite=invite, overrides=overrides)
    live = wants_live(config.observe.live, sys.stdout)
    with ExitStack() as life:
        # Before the log, which is another node's where one runs from here.
        life.enter_context(only_node_of(home))
        # Until the full-screen view comes up, lines say what is going on.
        _log_to(home, config, console=True)
        for note in notes:
            logger.info(note)
        # Told before anything is started, as all that only a person can mend.
        mode = account_mode(config, home)
        check_before_loading(config, home)
        life.enter_context(only_node_with_identity(home, cache_dir() / "peers"))
        if config.network.hub and invite is None:
            logger.info("Looking for this machine's hub, or starting one")
            hub = _hub_while_libraries_load(home, config.network.hub_url)
            life.callback(hub.stop)
            config, _ = load_with_notes(
                home, network=args.network or config.network.name, invite=hub.invite, overrides=overrides
            )
        config = with_account(mode, config, home, life)
        _play(config, home, live, node_page(mode, config, home, life), launch)
    return 0


def _log_to(home: Home, config: Config, *, console: bool) -> None:
    secrets = secrets_in(os.environ)
    setup_logging(home.logs / "swarm.log", config.observe.log_level, console=console, secrets=secrets)


def _hub_while_libraries_load(home: Home, hub_url: str | None) -> LocalHub:
    """This machine's hub. It starts while we import torch and its like, which takes each of us seconds."""
    from rgym_exp.hub.hub_plan import DEFAULT_PORT
    from rgym_exp.hub.local_hub import find_or_start_hub

    port = (urlsplit(hub_url).port if hub_url else None) or DEFAULT_PORT
    with ThreadPoolExecutor(1, thread_name_prefix="hub") as pool:
        starting = pool.submit(find_or_start_hub, home, port=port)
        importlib.import_module("rgym_exp.node.node")
        return starting.result()


def _help_rank_zero(home: Home, launch: Launch) -> int:
    """The life of a process that is part of another one's peer: no exchange, no chain, no view, a log of its own."""
    setup_logging(home.logs / f"rank-{launch.rank}.log", "INFO", console=False, secrets=secrets_in(os.environ))
    from rgym_exp.training.help import help_rank_zero

    help_rank_zero(launch)
    return 0


def _play(config: Config, home: Home, live: bool, page: NodePage | None, launch: Launch | None) -> None:
    # Imported here: loading torch takes seconds, and mistakes in the configuration are told before.
    from rgym_exp.node.interrupts import Interrupts
    from rgym_exp.node.node import NodeOptions, run_node
    from rgym_exp.observe.live import LiveView
    from rgym_exp.observe.metrics import read_history
    from rgym_exp.observe.progress import LineProgress
    from rgym_exp.swarm.names import animal_name

    if live:
        _log_to(home, config, console=False)
    view = LiveView(name_of=animal_name, history=read_history(home.logs / "metrics.jsonl")) if live else None
    progress = view or LineProgress()
    if view is not None and page is not None:
        page.when_up(view.page_at)

    acknowledged = threading.Event()

    def on_first_signal() -> None:
        # Heard of twice: by the watch at once, by the main thread when it can.
        if acknowledged.is_set():
            return
        acknowledged.set()
        if view is not None:
            view.finishing()
        else:
            logger.info("Finishing: writing a checkpoint and leaving the swarm. Ctrl-C again ends at once.")

    def end_at_once(lost: str) -> None:
        progress.close()
        with suppress(OSError):
            # Past every lock, which whoever was interrupted may hold.
            os.write(2, f"rl-swarm run: {lost}\n".encode())

    try:
        with Interrupts(on_first_signal, end_at_once) as interrupts, SignalWatch(on_first_signal):
            options = NodeOptions(config=config, home=home, progress=progress, interrupts=interrupts, launch=launch)
            run_node(options)
    finally:
        progress.close()


def _prepare_libraries() -> None:
    """Settings that libraries read when they are imported."""
    token = hugging_face_token(os.environ)
    # Older launchers export "None" for no token, which the hub's client would send.
    os.environ.pop("HF_TOKEN", None)
    if token:
        os.environ["HF_TOKEN"] = token
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    # Libraries tell the model hub that they are used; what this node does is its user's to tell.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # The terminal is the live view's, and the log's lines are not bars.
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # Threads that wait for each other must sleep, not spin: a spinning one takes the core that a second node or the
    # hub on this machine needs, and both become many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Every length of prompts and answers is another shape to oneDNN, which keeps what it made for the last 1024: half
    # a gigabyte in the end. Fewer are as fast.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    with suppress(AttributeError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

"""``rl-swarm login``: get this node an account, in a browser or as a key file."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rgym_exp.base.called import as_called
from rgym_exp.config.environment import secrets_in
from rgym_exp.config.paths import Home
from rgym_exp.errors import SwarmUserError
from rgym_exp.observe.logs import setup_logging

if TYPE_CHECKING:
    from rgym_exp.config.schema import Config
    from rgym_exp.login.session import LoginSession

TESTNET = "gensyn-testnet"

EPILOG = """examples:
  rl-swarm login                        log in with a browser, here or on your own computer by ssh
  rl-swarm login --headless             no browser: a key file of this node's own
  rl-swarm login --headless --import my.key --passphrase
  rl-swarm login --network local        an account of this machine's own swarm, kept by its login server

A login is remembered: later runs use it without asking, until it runs out or you log out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``rl-swarm login``."""
    parser.epilog = EPILOG
    parser.add_argument("--network", metavar="NAME", help=f"{TESTNET} (default) or local")
    parser.add_argument("--join", metavar="INVITE", help="log in for the swarm of this invite")
    parser.add_argument("--timeout", type=float, default=15.0, metavar="MINUTES", help="longest wait (default: 15)")
    parser.add_argument("--headless", action="store_true", help="no browser: make a key file, or use the one there is")
    parser.add_argument("--import", dest="source", metavar="FILE", help="with --headless: bring a key from this file")
    parser.add_argument("--passphrase", action="store_true", help="with --headless: encrypt the key file")


def execute(args: argparse.Namespace) -> int:
    """Log in, and say as whom."""
    if not args.headless:
        if args.source or args.passphrase:
            raise SwarmUserError("--import and --passphrase are about a key file: add --headless.")
        if not args.timeout > 0:
            raise SwarmUserError(f"--timeout takes minutes above 0, not {args.timeout:g}.")
        return _in_browser(args)
    return _with_key_file(args.home, Path(args.source) if args.source else None, encrypt=args.passphrase)


def _in_browser(args: argparse.Namespace) -> int:
    from rgym_exp.login.choice import remember_mode
    from rgym_exp.login.login_plan import is_on_this_machine, plan_of
    from rgym_exp.login.session import open_session

    config = _config(args)
    secrets = secrets_in(os.environ)
    setup_logging(args.home.logs / "login.log", config.observe.log_level, console=True, secrets=secrets)
    if not is_on_this_machine(config.network.login_url):
        raise SwarmUserError(
            f"The login server of this network is {config.network.login_url}, on another machine. Log in there."
        )
    session = open_session(plan_of(config, args.home), _tell)
    try:
        _lead_through(session, 60 * args.timeout)
        _say_how_to_use_it(config)
    finally:
        session.close()
    remember_mode(args.home, "browser")
    return 0


def _lead_through(session: LoginSession, seconds: float) -> None:
    """Wait for the login, unless there is one, and say who it is."""
    from rgym_exp.login.session import lead_to_page, wait_in_session, who

    account = session.account()
    if account is not None:
        _tell(f"Already logged in. {who(account)}")
        first = "open" if session.is_others else "start a node and open"
        _tell(f"To log out, or in as somebody else, {first} {session.address}")
        return
    lead_to_page(session, _tell)
    account = wait_in_session(session, _tell, seconds=seconds)
    _tell(f"Logged in. {who(account)}")


def _say_how_to_use_it(config: Config) -> None:
    from rgym_exp.login.choice import uses_login_server

    setting = "" if uses_login_server(config) else " blockchain.coordinator=modal"
    _tell(f"`{as_called('run')} --network {config.network.name}{setting}` uses this account.")


def _config(args: argparse.Namespace) -> Config:
    """The configuration that a run on this network would have."""
    from rgym_exp.commands.where import own_hub_url
    from rgym_exp.config.invite import read_invite
    from rgym_exp.config.load import load_config
    from rgym_exp.errors import HubError
    from rgym_exp.hub.client import hub_invite

    if args.join:
        if args.network:
            raise SwarmUserError("--network and --join exclude each other: an invite names its own network.")
        return load_config(args.home, invite=read_invite(args.join))
    config = load_config(args.home, network=args.network or TESTNET)
    if not config.network.hub:
        return config
    hub_url = own_hub_url(args.home)
    try:
        invite = read_invite(hub_invite(hub_url))
    except HubError as error:
        raise SwarmUserError(
            f"This machine's own swarm has its accounts on its hub's chain, and no hub answers at {hub_url}. Start one "
            f"first, in another terminal: {as_called('run')}, or {as_called('hub')}."
        ) from error
    return load_config(args.home, network=args.network, invite=invite)


def _with_key_file(home: Home, source: Path | None, *, encrypt: bool) -> int:
    from rgym_exp.chain.account import PASSPHRASE_VARIABLE
    from rgym_exp.login.choice import remember_mode
    from rgym_exp.login.key_file import import_key_file, is_keystore, make_key_file, passphrase_from

    passphrase = _new_passphrase() if encrypt else passphrase_from()
    if source is None:
        key = make_key_file(home.account_key, passphrase if encrypt or home.account_key.exists() else None)
    else:
        opening = _ask(f"Passphrase of {source}: ") if is_keystore(source) else None
        key = import_key_file(home.account_key, source, passphrase if encrypt else None, opening)
    remember_mode(home, "key file")
    print(f"account   {key.address}")
    print(
        f"key file  {home.account_key} ({'new' if key.is_new else 'it was there already'}; keep a copy in a safe place)"
    )
    print(
        f"From now on `{as_called('run')}` signs with this key, also on networks with a browser login, until "
        f"`{as_called('login')}` "
        "is used without --headless."
    )
    if is_keystore(home.account_key):
        print(f"Runs need the passphrase in the environment variable {PASSPHRASE_VARIABLE}.")
    print(
        f"On {TESTNET} nobody pays for this account's transactions: send it some of the testnet's money (chain 685685) "
        "first. On a swarm of your own, or of somebody's invite, nothing is needed."
    )
    return 0


def _new_passphrase() -> str:
    """From the environment, else asked for twice."""
    from rgym_exp.chain.account import PASSPHRASE_VARIABLE
    from rgym_exp.login.key_file import passphrase_from

    given = passphrase_from()
    if given is not None:
        return given
    first = _ask("Passphrase for the key file: ")
    if not first:
        raise SwarmUserError("An empty passphrase protects nothing. Choose one, or leave --passphrase away.")
    if _ask("Once more: ") != first:
        raise SwarmUserError(
            f"The two passphrases differ; nothing was written. Try again, or set {PASSPHRASE_VARIABLE}."
        )
    return first


def _ask(prompt: str) -> str:
    """A passphrase from the environment or, without one, from the terminal."""
    from rgym_exp.chain.account import PASSPHRASE_VARIABLE
    from rgym_exp.login.key_file import passphrase_from

    if (given := passphrase_from()) is not None:
        return given
    if not sys.stdin.isatty():
        raise SwarmUserError(f"A passphrase is needed, and nobody can be asked: set {PASSPHRASE_VARIABLE}.")
    return getpass.getpass(prompt)


def _tell(sentence: str) -> None:
    print(sentence, flush=True)

"""How a run gets at its account (a login server's, this node's key file, or none), and the web page beside it."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from rgym_exp.base.called import as_called
from rgym_exp.config.paths import Home
from rgym_exp.config.schema import Config
from rgym_exp.errors import LoginError
from rgym_exp.login.choice import takes_key_file, uses_login_server

if TYPE_CHECKING:
    from rgym_exp.login.node_page import NodePage

AccountMode = Literal["login", "login elsewhere", "chosen key file", "key file", "none"]

logger = logging.getLogger("rl_swarm.run")


def account_mode(config: Config, home: Home) -> AccountMode:
    """Which way this run goes. Raises LoginError at once for what would only fail after minutes."""
    if takes_key_file(config, home):
        return "chosen key file"
    if uses_login_server(config):
        from rgym_exp.login.login_plan import is_on_this_machine

        return "login" if is_on_this_machine(config.network.login_url) else "login elsewhere"
    kind = config.blockchain.coordinator
    kind = config.network.coordinator if kind == "auto" else kind
    return "key file" if kind == "wallet" else "none"


def with_account(mode: AccountMode, config: Config, home: Home, life: ExitStack) -> Config:
    """The configuration with an account that can be used: waits for a login where one is needed.

    The login server lives as long as ``life``. Raises LoginError when there is none, or nobody logs in.
    """
    if mode == "chosen key file":
        logger.info(
            f"This node signs with its key file %s, as `{as_called('login')} --headless` has it; "
            f"`{as_called('login')}` goes back "
            "to the browser.",
            home.account_key,
        )
        return _with_network(config, coordinator="wallet")
    return _logged_in(config, home, life) if mode == "login" else config


def node_page(mode: AccountMode, config: Config, home: Home, life: ExitStack) -> NodePage | None:
    """The node's web page, which comes up in the background; None where there is none."""
    if mode not in ("key file", "chosen key file") or config.observe.page == "no":
        return None
    from rgym_exp.login.login_plan import plan_of
    from rgym_exp.login.node_page import NodePage

    try:
        # Its own account is shown, and it needs nothing of Alchemy's for that.
        plan = plan_of(_with_network(config, login_wallet="local"), home)
    except LoginError as error:
        logger.info("The node goes on without its web page. %s", error)
        return None
    page = NodePage(plan, home, insist=config.observe.page == "yes")
    life.callback(page.close)
    return page


def _with_network(config: Config, **changes: Any) -> Config:
    return dataclasses.replace(config, network=dataclasses.replace(config.network, **changes))


def _logged_in(config: Config, home: Home, life: ExitStack) -> Config:
    from rgym_exp.login.login_plan import plan_of
    from rgym_exp.login.session import lead_to_page, open_session, wait_in_session, who

    session = open_session(plan_of(config, home), logger.info)
    life.callback(session.close)
    account = session.account()
    if account is None:
        lead_to_page(session, _say)
        account = wait_in_session(session, logger.info)
    logger.info("Logged in. %s", who(account))
    # Saved with the run's configuration, from which `rl-swarm status` learns where to ask.
    return _with_network(config, coordinator="modal", login_url=session.server.url)


def _say(sentence: str) -> None:
    """To the terminal only: the page's address holds the token, which no log may keep."""
    print(sentence, flush=True)

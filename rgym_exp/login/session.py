"""A login server that is up, and a person led to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rgym_exp.chain.login_client import LoginAccount, LoginClient
from rgym_exp.chain.login_errors import LoginServerAway, LoginServerTrouble
from rgym_exp.login.addresses import page_address, ways_from_elsewhere
from rgym_exp.login.app import LoginApp
from rgym_exp.login.browser import has_browser, open_page
from rgym_exp.login.login_plan import LoginPlan, require_alchemy_key
from rgym_exp.login.node_js import find_node
from rgym_exp.login.server import LoginServer, running_server
from rgym_exp.login.token import ensure_token
from rgym_exp.login.waiting import wait_for_login

RUN_WAIT_SECONDS = 15 * 60.0

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class LoginSession:
    """A running login server and what a person needs to use it."""

    server: LoginServer
    token: str
    data_dir: Path

    @property
    def address(self) -> str:
        """The page where one can log in and out."""
        return page_address(self.server.port, self.token)

    @property
    def is_others(self) -> bool:
        """Whether another node runs the server, so that it stays when this session ends."""
        return self.server.process_id is None

    @property
    def client(self) -> LoginClient:
        return LoginClient(self.server.url, self.data_dir / "token")

    def account(self) -> LoginAccount | None:
        """Who is logged in and may act; None when nobody is, or nothing can be told yet."""
        try:
            account = self.client.account()
        except (LoginServerAway, LoginServerTrouble):
            return None
        return account if account is not None and account.activation == "activated" and account.address else None

    def close(self) -> None:
        self.server.close()


def open_session(plan: LoginPlan, tell: Tell) -> LoginSession:
    """Build the login server if needed, and start it or use the one that runs. Raises LoginError.

    Whoever runs a server already has what it needs; only a new one asks for Alchemy's key.
    """
    if plan.wallet == "alchemy" and running_server(plan) is None:
        require_alchemy_key()
    node = find_node()
    app = LoginApp(plan.app_dir, node, log_file=plan.log_file)
    if not app.is_built():
        tell(f"Building the login server (once; a minute or two; log: {plan.log_file})")
        app.build()
    token = ensure_token(plan.data_dir)
    server = LoginServer(plan, node)
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    return LoginSession(server=server, token=token, data_dir=plan.data_dir)


def lead_to_page(session: LoginSession, tell: Tell) -> None:
    """Say where the page is, how to reach it from elsewhere, and open it where somebody would see it."""
    tell(f"The login page is at {session.address}")
    if has_browser():
        tell("Opening it in your browser; the address works in any browser on this machine.")
        open_page(session.address, session.data_dir)
        return
    for line in ways_from_elsewhere(session.server.port, session.token):
        tell(line)


def wait_in_session(session: LoginSession, tell: Tell, *, seconds: float = RUN_WAIT_SECONDS) -> LoginAccount:
    """The account, once somebody has logged in. Raises LoginTimeout with what was missing."""
    return wait_for_login(
        session.client.account,
        tell,
        page=page_address(session.server.port),
        seconds=seconds,
        pause=threading.Event().wait,
    )


def who(account: LoginAccount) -> str:
    """The account in words: the email where it is known, the address, until when."""
    until = ""
    if account.expires_at is not None:
        until = f", until {time.strftime('%Y-%m-%d', time.localtime(account.expires_at))}"
    return f"{account.email or 'Logged in'}: account {account.address}{until}"

"""Waiting until somebody is logged in: what is missing, in words, once for each state."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from rgym_exp.base.called import as_called
from rgym_exp.chain.login_client import LoginAccount
from rgym_exp.chain.login_errors import LoginServerAway, LoginServerTrouble
from rgym_exp.errors import LoginError

LOOK_SECONDS = 1.0

State = Literal["away", "nobody", "pending", "expired", "done"]

WAITING = {
    "away": "Waiting for the login server to answer at {page}.",
    "nobody": "Waiting for a login at {page}.",
    "pending": "{who} is logged in. Waiting for this machine's key to be allowed to act for the account: keep the page "
    "open and confirm what it asks.",
    "expired": "The login of {who} has run out. Waiting for a new one at {page}.",
}
STUCK = {
    "away": "the login server at {page} does not answer; the file logs/yarn.log of the node that runs it says more",
    "nobody": "nobody has logged in at {page}",
    "pending": "{who} is logged in, but this machine's key was never allowed to act for the account; open {page} once "
    "more, and log out and in there if it doesn't go on",
    "expired": "the login of {who} has run out, and nobody has logged in again at {page}",
}


class LoginTimeout(LoginError):
    """Nobody logged in in time. The message says what was missing."""


def wait_for_login(
    ask: Callable[[], LoginAccount | None],
    tell: Callable[[str], None],
    *,
    page: str,
    seconds: float,
    pause: Callable[[float], object],
    clock: Callable[[], float] = time.monotonic,
) -> LoginAccount:
    """The account, as soon as somebody is logged in and this machine's key may act for them.

    Args:
        ask: who is logged in; may raise what ``LoginClient.account`` raises.
        tell: gets a sentence whenever what is waited for changes.
        page: the page's address, for the sentences.
        pause: waits for so many seconds.

    Raises LoginTimeout after ``seconds``; TokenRefused and the like, which no waiting mends, rise at once.
    """
    deadline = clock() + seconds
    told: State | None = None
    while True:
        state, account = _look(ask)
        if state == "done" and account is not None:
            return account
        words = {"page": page, "who": account.email or "Somebody" if account else "Somebody"}
        if clock() >= deadline:
            raise LoginTimeout(
                f"Gave up after {_minutes(seconds)}: {STUCK[state].format(**words)}. `{as_called('login')} --timeout "
                "MINUTES` waits longer, and a login is remembered for later runs."
            )
        if state != told:
            tell(WAITING[state].format(**words))
            told = state
        pause(min(LOOK_SECONDS, max(0.0, deadline - clock())))


def _look(ask: Callable[[], LoginAccount | None]) -> tuple[State, LoginAccount | None]:
    try:
        account = ask()
    except (LoginServerAway, LoginServerTrouble):
        return "away", None
    if account is None:
        return "nobody", None
    if account.activation == "activated" and account.address is not None:
        return "done", account
    return ("expired" if account.activation == "expired" else "pending"), account


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"

"""The coordinator of a node whose account is kept by the login server (browser login, as on the public testnet).

Only the door is built: this version can't send through a login server yet, and says so before anything starts.
"""

from __future__ import annotations

from typing import NoReturn

import requests

from rgym_exp.chain.coordinator import ChainError

ANSWER_TIMEOUT_SECONDS = 3.0
_REMEDY = "Use an account of this node's own with blockchain.coordinator=wallet, or no chain with =offline."


def require_login_server(login_url: str | None) -> str:
    """The login server's REST base, when one answers there. Raises ChainError with what to do otherwise."""
    if not login_url:
        raise ChainError(f"The modal coordinator needs a login server; the network names none (login_url). {_REMEDY}")
    try:
        requests.get(login_url, timeout=ANSWER_TIMEOUT_SECONDS, allow_redirects=False, stream=True).close()
    except requests.exceptions.RequestException as error:
        raise ChainError(
            f"No login server answers at {login_url} ({type(error).__name__}). This network's accounts come from one, "
            f"and this version does not bring it yet. {_REMEDY}"
        ) from error
    return login_url


def connect_through_login_server(login_url: str | None) -> NoReturn:
    """Raise the ChainError that tells why this node can't use a login server."""
    found = require_login_server(login_url)
    raise ChainError(f"Something answers at {found}, but this version can't send through a login server yet. {_REMEDY}")

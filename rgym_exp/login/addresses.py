"""Where the login page is, for a browser on this machine and for one on another."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping


def page_address(port: int, token: str | None = None) -> str:
    """The page; with the token, the one where one can log in and out. The part after # never reaches a log."""
    return f"http://localhost:{port}/" + (f"#token={token}" if token else "")


def ways_from_elsewhere(port: int, token: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """What to type on a machine with a browser, when this one has none: two ways, a line or two each."""
    allowed = environ.get("LOGIN_ALLOWED_HOSTS", "").strip()
    name = allowed.split(",")[0].strip() if allowed else "MACHINE.TAILNET.ts.net"
    lines = [
        "No browser here? On the computer where you sit, type",
        f"    ssh -L {port}:localhost:{port} {_user()}@{socket.gethostname()}",
        "and open the address above there. Or, where both are in a Tailscale network, type here",
        f"    tailscale serve --bg http://localhost:{port}",
        f"and open https://{name}/#token={token}",
    ]
    if not allowed:
        lines.append(f"(for that, start this with LOGIN_ALLOWED_HOSTS={name}, the name that tailscale prints).")
    return lines


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "USER"

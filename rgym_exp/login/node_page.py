"""The node's own web page, in the background of a run: nobody waits for it, and nothing fails with it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rgym_exp.config.paths import Home
from rgym_exp.errors import DataInUse, LoginError, SwarmUserError
from rgym_exp.login.addresses import page_address
from rgym_exp.login.app import BuildStopped, LoginApp
from rgym_exp.login.login_plan import LoginPlan
from rgym_exp.login.node_js import NodeJs, find_node
from rgym_exp.login.server import LoginServer, own_page_plan
from rgym_exp.login.token import ensure_token

logger = logging.getLogger("rl_swarm.login")

BUILD_MEMORY_BYTES = 3 * 1024**3
"""A build takes half of this, and the model next to it wants the rest."""
LOOK_SECONDS = 0.5


class NodePage:
    """Serves the page of a node with a key file, from when it can be had until ``close``."""

    def __init__(self, plan: LoginPlan, home: Home, *, insist: bool = False) -> None:
        """``insist``: build it with little memory, too, and warn where it can't be had instead of just saying so."""
        self._plan = plan
        self._home = home
        self._insist = insist
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._server: LoginServer | None = None
        self._address: str | None = None
        self._listeners: list[Callable[[str], None]] = []
        self._thread = threading.Thread(target=self._run, name="web page", daemon=True)
        self._thread.start()

    def when_up(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with the page's address once it is up: now, or later from another thread, or never."""
        with self._lock:
            self._listeners.append(listener)
            address = self._address
        if address is not None:
            listener(address)

    def close(self) -> None:
        """End it, and a build that still runs."""
        self._stop.set()
        with self._lock:
            server = self._server
        if server is not None:
            server.close()
        self._thread.join(30.0)

    def _run(self) -> None:
        """Thread "web page"."""
        try:
            node = find_node()
            self._build(LoginApp(self._plan.app_dir, node, log_file=self._plan.log_file))
            account = self._account()
            if account is None:
                return
            self._serve(node, replace(self._plan, node_account=account))
        except BuildStopped:
            logger.debug("The run ended before its web page was built.")
        except SwarmUserError as error:
            if self._stop.is_set():
                return
            level = logging.WARNING if self._insist else logging.INFO
            logger.log(level, "The node goes on without its web page. %s", error)

    def _build(self, app: LoginApp) -> None:
        if app.is_built():
            return
        available = _available_memory()
        if available < BUILD_MEMORY_BYTES and not self._insist:
            raise LoginError(
                f"Building it takes some memory, and only {available / 1024**3:.1f} GiB are available. With "
                "observe.page=yes it is built all the same."
            )
        logger.info("Building the node's web page in the background (once; log: %s)", self._plan.log_file)
        app.build(stop=self._stop, background=True)

    def _account(self) -> str | None:
        """The key file's address; the run makes the file at its start. None when the run ends before."""
        while (address := stated_address(self._home.account_key)) is None:
            if self._stop.wait(LOOK_SECONDS):
                return None
        return address

    def _serve(self, node: NodeJs, plan: LoginPlan) -> None:
        try:
            self._start(node, plan)
        except DataInUse:
            # Another node of this machine shows its own account there.
            self._start(node, own_page_plan(plan, self._home.page_data))

    def _start(self, node: NodeJs, plan: LoginPlan) -> None:
        ensure_token(plan.data_dir)
        server = LoginServer(plan, node, shared=False)
        with self._lock:
            if self._stop.is_set():
                return
            self._server = server
        server.start()
        address = page_address(server.port)
        logger.info("The node's web page: %s", address)
        with self._lock:
            self._address = address
            listeners = list(self._listeners)
        for listener in listeners:
            listener(address)


def stated_address(key_file: Path) -> str | None:
    """The address that a key file states, encrypted or not; None while there is none."""
    try:
        address = json.loads(key_file.read_text(encoding="utf-8"))["address"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return "0x" + address.lower().removeprefix("0x") if isinstance(address, str) else None


def _available_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)

"""The login server's process: one for all nodes that share its data, run by one of them, taken over by the next.

Who holds ``server.lock`` in the data folder runs the server; the server itself keeps the lock, too, so that it is free
only when the server is gone. The others use it, and try for the lock now and then.
"""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

from rgym_exp.base.child import end, last_words, start_logged
from rgym_exp.base.files import atomic_write
from rgym_exp.base.lock import file_lock
from rgym_exp.base.ports import free_port_from, is_free
from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.login_client import LoginClient
from rgym_exp.chain.login_errors import LoginServerAway, LoginServerTrouble
from rgym_exp.errors import DataInUse, LoginError
from rgym_exp.login.login_plan import LoginPlan
from rgym_exp.login.node_js import NodeJs

logger = logging.getLogger("rl_swarm.login")

START_SECONDS = 60.0
STOP_SECONDS = 5.0
LOOK_SECONDS = 0.25
"""Between two looks at a server that starts."""
TAKE_OVER_SECONDS = 1.0
"""Between two tries for the lock, while another node runs the server."""
STEADY_SECONDS = 10.0
"""A server that lived shorter than this won't live longer the next time: it isn't started again."""
STARTS = 3
"""Ports may be taken between the look at them and the start."""


class LoginServer:
    """The server of a plan, for as long as this object is open. ``start`` it, then use ``url``."""

    def __init__(self, plan: LoginPlan, node: NodeJs, *, shared: bool = True) -> None:
        """``shared`` False: a server that another node runs is not used, not even one that is just as wanted."""
        self._plan = plan
        self._node = node
        self._shared = shared
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self._first: queue.SimpleQueue[int | LoginError] = queue.SimpleQueue()
        # The signal that ends the server with us is tied to the thread that starts it: one that stays.
        self._thread = threading.Thread(target=self._run, name="login server", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1. It stays the same when another node takes it over."""
        assert self._port is not None, "start() comes first"
        return self._port

    @property
    def url(self) -> str:
        """Base of its REST API."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def process_id(self) -> int | None:
        """Of the server, where it is ours."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Return when it answers: ours, or that of another node. May be called once.

        Raises LoginError with the reason and the log; DataInUse when its data belong to a server of another kind.
        """
        self._thread.start()
        try:
            answer = self._first.get(timeout=START_SECONDS + STOP_SECONDS)
        except queue.Empty:
            self.close()
            raise LoginError(
                f"The login server that another node runs with {self._plan.data_dir} does not answer. Stop that node, "
                "or give this one data of its own with LOGIN_DATA_DIR."
            ) from None
        if isinstance(answer, LoginError):
            self.close()
            raise answer

    def close(self) -> None:
        """End the server, if it is ours. May be called more than once, and before ``start``."""
        self._stop.set()
        self._first.put(LoginError("The login server was told to stop while it started."))
        self._end()
        if self._thread.is_alive():
            self._thread.join(2 * STOP_SECONDS)

    def _run(self) -> None:
        """Thread "login server": use another's, run our own, or take over, until told to stop."""
        try:
            self._plan.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            while not self._stop.is_set():
                with file_lock(self._plan.data_dir / "server.lock") as lock:
                    if lock is not None:
                        self._lead(lock)
                        return
                if self._port is None:
                    self._use_others()
                self._stop.wait(TAKE_OVER_SECONDS if self._port is not None else LOOK_SECONDS)
        except OSError as error:
            self._fail(
                LoginError(
                    f"The login server can't work with the folder {self._plan.data_dir} ({error}). Mend its "
                    "permissions, or name another one with LOGIN_DATA_DIR."
                )
            )
        except LoginError as error:
            self._fail(error)

    def _fail(self, error: LoginError) -> None:
        if self._port is not None and not self._stop.is_set():
            logger.error("%s", error)
        self._first.put(error)

    def _use_others(self) -> None:
        """Look at the server of whoever holds the lock; raises DataInUse when it isn't the one that is wanted."""
        if not self._shared:
            raise DataInUse(f"Another login server works with {self._plan.data_dir}.")
        port = _noted_port(self._plan.data_dir)
        if port is None:
            return
        try:
            health = LoginClient(f"http://127.0.0.1:{port}/api", None).health()
        except (LoginServerAway, LoginServerTrouble):
            return  # it starts
        except ChainError:
            return  # its port of last time, which another program has now
        if not self._plan.is_met_by(health):
            raise DataInUse(
                f"A login server with the {health.wallet} wallet for chain {health.chain_id} (port {port}) already "
                f"works with {self._plan.data_dir}, and this node needs one with the {self._plan.wallet} wallet for "
                f"chain {self._plan.chain_id}. Stop the node that runs it, or give this one data of its own with "
                "LOGIN_DATA_DIR=DIR."
            )
        logger.info("Using the login server that another node runs on port %d.", port)
        self._ready(port)

    def _lead(self, lock: int) -> None:
        """Run the server until told to stop; start it again when it ends by itself."""
        if self._port is not None:
            logger.info("The node that ran the login server has ended; this one runs it now.")
        while not self._stop.is_set():
            began = time.monotonic()
            process = self._start(lock)
            if process is None:
                return
            status = process.wait()
            if self._stop.is_set():
                return
            if time.monotonic() - began < STEADY_SECONDS:
                raise LoginError(
                    f"The login server ended by itself (status {status}: {last_words(self._plan.log_file)}) and "
                    f"is not started again. Start the node again when {self._plan.log_file} shows why."
                )
            logger.warning("The login server ended by itself (status %d); starting it again.", status)

    def _start(self, lock: int) -> subprocess.Popen[bytes] | None:
        """Start it on a port that it can have and wait until it answers. None when told to stop meanwhile."""
        for _ in range(STARTS):
            port = self._choose_port()
            process = self._process = self._spawn(port, lock)
            deadline = time.monotonic() + START_SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                if self._stop.wait(LOOK_SECONDS):
                    self._end()
                    return None
                if self._answers(port):
                    atomic_write(_note(self._plan.data_dir), json.dumps({"port": port}).encode(), mode=0o600)
                    self._ready(port)
                    return process
            if process.poll() is None or is_free("127.0.0.1", port):
                break  # otherwise somebody took the port while it started: the next one
        self._end()
        raise LoginError(
            f"The login server did not start; the last it said: {last_words(self._plan.log_file)} "
            f"(log: {self._plan.log_file})."
        )

    def _spawn(self, port: int, lock: int) -> subprocess.Popen[bytes]:
        return start_logged(
            [str(self._node.node), "scripts/start.mjs"],
            cwd=self._plan.app_dir,
            environ={**self._node.environment(), **self._plan.environment(port), "LOGIN_ENDS_WITH_STDIN": "1"},
            log_file=self._plan.log_file,
            held=lock,
            stdin=subprocess.PIPE,
        )

    def _choose_port(self) -> int:
        """The one that it had, else the wanted one, else the next free one, said aloud."""
        wanted = self._port or self._plan.port
        port = free_port_from(wanted)
        if port != wanted:
            logger.warning(
                "Port %d is taken by another program; the login server takes port %d instead (LOGIN_PORT chooses it).",
                *(wanted, port),
            )
        return port

    def _answers(self, port: int) -> bool:
        try:
            return self._plan.is_met_by(LoginClient(f"http://127.0.0.1:{port}/api", None).health())
        except (LoginServerAway, LoginServerTrouble):
            return False
        except ChainError:
            return False  # another program, which took the port before ours could

    def _ready(self, port: int) -> None:
        if self._port is None:
            self._first.put(port)
        self._port = port

    def _end(self) -> None:
        if self._process is not None:
            end(self._process, seconds=STOP_SECONDS, gently=False)


def running_server(plan: LoginPlan) -> int | None:
    """The port of a running server that is the wanted one; None when there is none. For those who only look."""
    for port in dict.fromkeys(filter(None, [_noted_port(plan.data_dir), plan.port])):
        try:
            if plan.is_met_by(LoginClient(f"http://127.0.0.1:{port}/api", None).health()):
                return port
        except ChainError:
            continue
    return None


def own_page_plan(plan: LoginPlan, data_dir: Path) -> LoginPlan:
    """The same server with data of its own."""
    return replace(plan, data_dir=data_dir.absolute())


def _note(data_dir: Path) -> Path:
    return data_dir / "server.json"


def _noted_port(data_dir: Path) -> int | None:
    """The port on which the data's server listens, or listened when it last ran."""
    try:
        port = json.loads(_note(data_dir).read_text(encoding="utf-8"))["port"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return port if isinstance(port, int) and 0 < port < 65536 else None

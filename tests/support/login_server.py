"""The login server as it is delivered: its own process, with a folder and a port of its own."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Self

import requests

from rgym_exp.base.files import write_new
from rgym_exp.base.ports import free_port
from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.login_client import LoginClient
from rgym_exp.config.paths import login_app_dir
from tests.support.processes import wait_for

ANSWER_SECONDS = 30.0
_STEERING = ("LOGIN_", "SWARM_", "PRG_", "NEXT_", "ALCHEMY_")
"""Beginnings of the variables by which the server is told what to be."""


class LoginServerProcess:
    """A login server with the ``local`` wallet. A context manager; stopped and started again, it is the same server."""

    def __init__(
        self, data_dir: Path, *, rpc_url: str, chain_id: int, contract_address: str, market_address: str = ""
    ) -> None:
        """``market_address`` empty: the network has no prediction market."""
        self.data_dir = data_dir
        self.token_file = data_dir / "token"
        self.log_file = data_dir.parent / f"{data_dir.name}.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._environ = {
            "LOGIN_WALLET": "local",
            "LOGIN_DATA_DIR": str(data_dir),
            "LOGIN_PORT": str(self.port),
            "SWARM_RPC_URL": rpc_url,
            "SWARM_CHAIN_ID": str(chain_id),
            "SWARM_CONTRACT_ADDRESS": contract_address,
            "PRG_CONTRACT_ADDRESS": market_address,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, with a new token where there is none, and return when it answers."""
        app = login_app_dir()
        node = shutil.which("node")
        assert node is not None, "The login server needs Node.js on PATH."
        assert (app / ".next" / "standalone" / "server.js").exists(), (
            f"{app} isn't built: run `npm ci` and `npm run build` in modal-login (./run_tests.sh does)."
        )
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_STEERING)}
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if not self.token_file.exists():
            write_new(self.token_file, secrets.token_urlsafe(32).encode())
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [node, "scripts/start.mjs"],
                cwd=app,
                env={**environ, **self._environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, what=f"an answer of the login server (log: {self._said()})", seconds=ANSWER_SECONDS)

    def stop(self) -> None:
        """End it as its launcher does (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL), whatever it is doing."""
        self._end(signal.SIGKILL)

    def log_in(self, email: str) -> str:
        """Log in as the page does; the orgId."""
        return str(self.post("get-api-key", {"whoamiStamp": {"email": email}})["orgId"])

    def log_out(self, org_id: str) -> None:
        self.post("log-out", {"orgId": org_id})

    def account_address(self) -> str:
        """The account of the current login."""
        account = LoginClient(self.url, self.token_file).account()
        assert account is not None and account.address is not None
        return account.address

    def post(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        """A request with the token; its answer, which must be a good one."""
        answer = requests.post(
            f"{self.url}/{route}",
            json=body,
            headers={"authorization": f"Bearer {self.token_file.read_text(encoding='ascii').strip()}"},
            timeout=ANSWER_SECONDS,
        )
        assert answer.ok, f"{route}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"The login server ended by itself: {self._said()}"
        try:
            health = LoginClient(self.url, None).health()
        except ChainError:
            return False
        return health.data_dir == hashlib.sha256(str(self.data_dir).encode()).hexdigest()

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(ANSWER_SECONDS)

    def _said(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")[-1500:]

"""A chain of one's own on this machine: ``anvil`` on loopback, without fees, its state on disk, and an owner's key.

Anybody who reaches anvil's port rules the chain (it can give itself any balance), so it listens on loopback only and
answers no web page (no CORS headers); other machines come through the hub's door, which lets harmless calls through.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from eth_account.signers.local import LocalAccount
from web3.types import RPCEndpoint

from rgym_exp.chain.account import load_or_create_account
from rgym_exp.chain.anvil import find_or_install_anvil
from rgym_exp.chain.contract import connect
from rgym_exp.chain.coordinator import ChainError

logger = logging.getLogger("rl_swarm.chain")

DEVNET_CHAIN_ID = 685_686
"""Next to the public testnet's 685685, and not the 31337 of every developer's chain, so wallets tell them apart."""
START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 20.0
STATE_INTERVAL_SECONDS = 5
"""How often the state is saved: what a killed machine can lose. Nodes notice and send again."""
OWNER_BALANCE_WEI = 10**21

_STARTER = Path(__file__).with_name("die_with_parent.py")
_LISTENING = "Listening on 127.0.0.1:"


class DevnetError(ChainError):
    """The local chain can't be started, or ended by itself."""


class Devnet:
    """A running devnet. Made by ``Devnet.start``; ``stop`` saves its state."""

    def __init__(self, *, process: _Anvil, chain_id: int, owner: LocalAccount) -> None:
        self._process = process
        self.port = process.port
        self.rpc_url = f"http://127.0.0.1:{process.port}"
        self.chain_id = chain_id
        self.owner = owner
        """The account that deploys the contract and manages it. Its key never leaves its file."""

    @classmethod
    def start(
        cls,
        state_dir: Path,
        port: int = 0,
        chain_id: int = DEVNET_CHAIN_ID,
        owner_key_file: Path | None = None,
    ) -> Devnet:
        """Start it with the state in ``state_dir`` (made on first start) and return when it answers.

        ``port`` 0 takes a free one. ``owner_key_file`` defaults to ``state_dir/owner.key``. Raises DevnetError,
        AccountError, AnvilMissing.
        """
        state_dir.mkdir(parents=True, exist_ok=True)
        owner = load_or_create_account(owner_key_file or state_dir / "owner.key")
        if port != 0:
            _require_free(port)
        process = _Anvil(_command(find_or_install_anvil(), state_dir, port, chain_id), log=state_dir / "anvil.log")
        try:
            web3 = connect(f"http://127.0.0.1:{process.port}")
            web3.provider.make_request(RPCEndpoint("anvil_setBalance"), [owner.address, hex(OWNER_BALANCE_WEI)])
            answered = web3.eth.chain_id
            if answered != chain_id:
                raise DevnetError(
                    f"The chain saved in {state_dir} has id {answered}, not {chain_id}. Ask for {answered}, or give "
                    "the new chain another folder."
                )
        except BaseException:
            process.stop()
            raise
        return cls(process=process, chain_id=chain_id, owner=owner)

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    def stop(self) -> None:
        """Save the state and end. Calling it again does nothing."""
        self._process.stop()

    def __enter__(self) -> Devnet:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _command(binary: Path, state_dir: Path, port: int, chain_id: int) -> list[str]:
    return [
        *(str(binary), "--host", "127.0.0.1", "--port", str(port), "--chain-id", str(chain_id)),
        # No fees, for ever: see test_a_full_block_does_not_bring_fees_back.
        *("--gas-price", "0", "--base-fee", "0", "--disable-min-priority-fee"),
        # None of anvil's well-known accounts, whose keys the whole world has.
        *("--accounts", "0", "--no-cors"),
        *("--state", str(state_dir / "chain.json"), "--state-interval", str(STATE_INTERVAL_SECONDS)),
        # A chain that runs for months must not keep every past state and transaction in memory.
        *("--prune-history", "16", "--transaction-block-keeper", "2048"),
    ]


class _Anvil:
    """The process, started and awaited by a thread of its own: the signal that ends it with its parent is tied to the
    thread that started it, and a caller's thread (a worker of asyncio's pool, say) may end at any time."""

    def __init__(self, command: list[str], *, log: Path) -> None:
        self._command = command
        self._log = log
        self._started: queue.SimpleQueue[int | DevnetError] = queue.SimpleQueue()
        self._stopping = False
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="anvil", daemon=True)
        self._thread.start()
        try:
            answer = self._started.get(timeout=START_TIMEOUT_SECONDS)
        except queue.Empty:
            self.stop()
            raise DevnetError(
                f"The local chain didn't start within {START_TIMEOUT_SECONDS:.0f} s. What it said is in {log}."
            ) from None
        if isinstance(answer, DevnetError):
            raise answer
        self.port = answer

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        self._stopping = True
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("The local chain didn't end within %.0f s and was killed.", STOP_TIMEOUT_SECONDS)
            self._process.kill()
            self._process.wait()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        starter = [sys.executable, "-I", "-S", str(_STARTER), str(os.getpid()), *self._command]
        try:
            with self._log.open("w", encoding="utf-8") as log:
                self._process = subprocess.Popen(
                    starter,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    # A Ctrl-C at the terminal is for us; we then end the chain in our own order.
                    start_new_session=True,
                )
                self._read(self._process, log)
        except OSError as error:
            self._started.put(DevnetError(f"The local chain can't be started: {error}."))

    def _read(self, process: subprocess.Popen[str], log: IO[str]) -> None:
        """Follow what it says until it ends. The log keeps the start, where all that matters is said."""
        assert process.stdout is not None
        listening = False
        last = ""
        for line in process.stdout:
            if listening:
                continue
            log.write(line)
            log.flush()
            last = line.strip() or last
            if line.startswith(_LISTENING):
                listening = True
                self._started.put(int(line.removeprefix(_LISTENING)))
        status = process.wait()
        if not listening:
            self._started.put(DevnetError(f"The local chain ended at its start: {last or status}. See {self._log}."))
        elif not self._stopping:
            logger.error("The local chain ended by itself (status %d). Start again; its state is on disk.", status)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DevnetError(
                f"Port {port} on 127.0.0.1, meant for the local chain, can't be had ({error.strerror}): another "
                "program uses it, perhaps a hub that still runs. Stop that program or choose another port."
            ) from error

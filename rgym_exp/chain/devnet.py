"""A chain of one's own on this machine: ``anvil`` on loopback, without fees, its state on disk, and an owner's key.

Anybody who reaches anvil's port rules the chain (it can give itself any balance), so it listens on loopback only and
answers no web page (no CORS headers); other machines come through the hub's RPC proxy.
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path

from eth_account.signers.local import LocalAccount
from web3.types import RPCEndpoint

from rgym_exp.chain.account import load_or_create_account
from rgym_exp.chain.anvil import find_or_install_anvil
from rgym_exp.chain.anvil_process import STATE_INTERVAL_SECONDS, AnvilProcess, DevnetError
from rgym_exp.chain.rpc import connect
from rgym_exp.chain.saved_state import BLOCKS_KEPT

logger = logging.getLogger("rl_swarm.chain")

DEVNET_CHAIN_ID = 685_686
"""Next to the public testnet's 685685, and not the 31337 of every developer's chain, so wallets tell them apart."""
OWNER_BALANCE_WEI = 10**21


class Devnet:
    """A running devnet. Made by ``Devnet.start``; ``stop`` saves its state."""

    def __init__(self, *, process: AnvilProcess, chain_id: int, owner: LocalAccount) -> None:
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
        StateLost, AccountError, AnvilMissing.
        """
        state_dir.mkdir(parents=True, exist_ok=True)
        owner = load_or_create_account(owner_key_file or state_dir / "owner.key")
        if port != 0:
            _require_free(port)
        state_file = state_dir / "chain.json"
        command = _command(find_or_install_anvil(), state_file, chain_id)
        process = AnvilProcess(command, port=port, state_file=state_file, log_file=state_dir / "anvil.log")
        try:
            web3 = connect(f"http://127.0.0.1:{process.port}")
            web3.provider.make_request(RPCEndpoint("anvil_setBalance"), [owner.address, hex(OWNER_BALANCE_WEI)])
        except BaseException:
            process.stop()
            raise
        return cls(process=process, chain_id=chain_id, owner=owner)

    @property
    def is_running(self) -> bool:
        """False when it was stopped, or its state is lost; one that ended by itself is started again."""
        return self._process.is_running

    @property
    def trouble(self) -> str | None:
        """A sentence while it is down, or while its state file isn't written any more; None while all is well."""
        return self._process.trouble

    @property
    def process_id(self) -> int:
        """anvil's."""
        return self._process.process_id

    def renew(self) -> None:
        """Restart it on the same port with its old blocks cut off, in a fraction of a second. Also done unasked."""
        self._process.renew()

    def stop(self) -> None:
        """Save the state and end. Calling it again does nothing."""
        self._process.stop()

    def __enter__(self) -> Devnet:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _command(binary: Path, state_file: Path, chain_id: int) -> list[str]:
    return [
        *(str(binary), "--host", "127.0.0.1", "--chain-id", str(chain_id)),
        # No fees, for ever: full blocks don't bring them back.
        *("--gas-price", "0", "--base-fee", "0", "--disable-min-priority-fee"),
        # None of anvil's well-known accounts, whose keys the whole world has; and no web page may ask.
        *("--accounts", "0", "--no-cors"),
        *("--state", str(state_file), "--state-interval", str(STATE_INTERVAL_SECONDS)),
        # A chain that runs for months must not keep every past state and transaction in memory. What it keeps it also
        # writes, 6 KB for each transaction.
        *("--prune-history", "16", "--transaction-block-keeper", str(BLOCKS_KEPT)),
    ]


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

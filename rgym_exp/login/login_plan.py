"""Which login server a node wants: its program, its data, its chain."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rgym_exp.base.called import as_called
from rgym_exp.base.http_client import is_loopback
from rgym_exp.config.paths import Home, login_app_dir, login_data_dir
from rgym_exp.config.schema import Config
from rgym_exp.errors import LoginError

if TYPE_CHECKING:
    from rgym_exp.chain.login_client import LoginHealth

DEFAULT_PORT = 3000
ALCHEMY_KEY = "NEXT_PUBLIC_ALCHEMY_API_KEY"
ALCHEMY_POLICY = "NEXT_PUBLIC_PAYMASTER_POLICY_ID"


@dataclass(frozen=True, kw_only=True)
class LoginPlan:
    """All that makes a login server the one that is wanted."""

    app_dir: Path
    data_dir: Path
    """Absolute."""
    wallet: str
    """``local`` or ``alchemy``."""
    chain_id: int | None
    rpc_url: str
    contract: str | None
    market: str | None = None
    explorer_url: str | None = None
    node_account: str | None = None
    """Shown while nobody is logged in."""
    port: int = DEFAULT_PORT
    """The one that is tried first."""
    log_file: Path

    def environment(self, port: int) -> dict[str, str]:
        """The variables that it reads (``modal-login/lib/settings.ts``). Empty ones count as not set there."""
        return {
            "LOGIN_WALLET": self.wallet,
            "LOGIN_DATA_DIR": str(self.data_dir),
            "LOGIN_PORT": str(port),
            "LOGIN_NODE_ACCOUNT": self.node_account or "",
            "SWARM_CHAIN_ID": str(self.chain_id),
            "SWARM_RPC_URL": self.rpc_url,
            "SWARM_EXPLORER_URL": self.explorer_url or "",
            "SWARM_CONTRACT_ADDRESS": self.contract or "",
            "PRG_CONTRACT_ADDRESS": self.market or "",
        }

    def is_met_by(self, health: LoginHealth) -> bool:
        """Whether a running server is the wanted one: same data, same wallet, same chain, same contract."""
        return (
            health.data_dir == digest_of(self.data_dir)
            and health.wallet == self.wallet
            and health.chain_id == self.chain_id
            and (health.contract or "").lower() == (self.contract or "").lower()
            and (health.market or "").lower() == (self.market or "").lower()
        )


def digest_of(data_dir: Path) -> str:
    """How a server names its data folder to callers without telling where it is."""
    return hashlib.sha256(os.path.abspath(data_dir).encode()).hexdigest()


def plan_of(config: Config, home: Home, environ: Mapping[str, str] = os.environ) -> LoginPlan:
    """The login server for this configuration. Raises LoginError when the network has no chain, or for a bad port."""
    network, chain = config.network, config.blockchain
    rpc_url = chain.rpc_url or network.rpc_url
    if not rpc_url or not network.chain_id:
        raise LoginError(
            f"The network {network.name} names no chain that a login server could write to. Choose a network with "
            "one, or set network.chain_id and network.rpc_url."
        )
    return LoginPlan(
        app_dir=login_app_dir(environ),
        data_dir=login_data_dir(environ, wallet=network.login_wallet),
        wallet=network.login_wallet,
        chain_id=network.chain_id,
        rpc_url=rpc_url,
        contract=chain.contract_address or network.coordinator_address,
        market=network.prg_address,
        explorer_url=network.explorer_url,
        port=wanted_port(network.login_url, environ),
        log_file=home.logs / "yarn.log",
    )


def is_on_this_machine(login_url: str | None) -> bool:
    """Whether the login server of this address is one that a run starts, and not somebody's elsewhere."""
    return login_url is None or is_loopback(login_url)


def require_alchemy_key(environ: Mapping[str, str] = os.environ) -> None:
    """Raise LoginError, with the ways with and without them, unless Alchemy's key and gas policy are set."""
    missing = [name for name in (ALCHEMY_KEY, ALCHEMY_POLICY) if not environ.get(name, "").strip()]
    if missing:
        exports = " and ".join(f"export {name}=..." for name in missing)
        raise LoginError(
            f"The login on this network goes through Alchemy, and {' and '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} not set. Make an app with embedded wallets and a gas policy at "
            f"https://dashboard.alchemy.com, then: {exports}. Two ways need neither: `{as_called('login')} "
            "--headless` makes "
            f"a key file of your own (its account pays for its transactions), and `{as_called('run')} --network "
            "local` trains "
            "without any login."
        )


def wanted_port(login_url: str | None, environ: Mapping[str, str] = os.environ) -> int:
    """$LOGIN_PORT, else the port of the network's address, else 3000. Raises LoginError for what is no port."""
    text = environ.get("LOGIN_PORT", "").strip()
    if text:
        if not text.isdecimal() or not 1 <= int(text) <= 65535:
            raise LoginError(f"LOGIN_PORT is {text!r}, but a port is a number from 1 to 65535.")
        return int(text)
    return (urlsplit(login_url).port if login_url else None) or DEFAULT_PORT

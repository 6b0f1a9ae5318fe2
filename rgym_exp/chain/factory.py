"""Makes a coordinator by the name that the configuration gives it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rgym_exp.chain.coordinator import ChainError, Coordinator
from rgym_exp.config import paths

if TYPE_CHECKING:
    from rgym_exp.chain.hub_round import OnTime

KINDS = ("wallet", "modal", "offline")


def make_coordinator(
    kind: str,
    *,
    rpc_url: str | None = None,
    contract_address: str | None = None,
    chain_id: int | None = None,
    key_file: Path | None = None,
    outbox_path: Path | None = None,
    login_url: str | None = None,
    login_token_file: Path | None = None,
    round_seconds: float = 60.0,
    market_address: str | None = None,
    hub_url: str | None = None,
    on_time: OnTime | None = None,
) -> Coordinator:
    """A coordinator of ``kind`` (wallet, modal or offline), made without waiting for the chain.

    wallet needs ``rpc_url``, ``contract_address``, ``key_file`` (made when missing) and ``outbox_path``; modal needs
    ``login_url`` in place of ``key_file``, and finds the login server's token where this checkout keeps it unless
    ``login_token_file`` says otherwise; offline takes ``round_seconds``. With ``market_address`` the coordinator has
    the prediction market at that address; offline has none. With ``hub_url`` the round is asked of that hub, and of the
    contract only while the hub doesn't tell it; ``on_time`` is told the hub's clock at each such look. Raises
    ChainError, in a sentence, when something needed is missing.
    """
    if kind == "offline":
        from rgym_exp.chain.offline import OfflineCoordinator

        if not round_seconds > 0:
            raise ChainError(f"blockchain.round_seconds is {round_seconds}, but a round needs a length above 0.")
        return OfflineCoordinator(round_seconds=round_seconds)
    if kind not in KINDS:
        raise ChainError(f"There is no coordinator {kind!r}. blockchain.coordinator takes one of: {', '.join(KINDS)}.")
    if rpc_url is None or contract_address is None:
        raise ChainError(
            f"The {kind} coordinator needs to know where the chain and its contract are; the network names no rpc_url "
            "or coordinator_address. Join with an invite, set both under blockchain, or use "
            "blockchain.coordinator=offline."
        )
    from rgym_exp.chain.hub_round import HubRounds

    if outbox_path is None:
        raise ValueError("a coordinator with a chain needs outbox_path")
    hub = HubRounds(hub_url, contract=contract_address, on_time=on_time) if hub_url else None
    if kind == "modal":
        if not login_url:
            raise ChainError(
                "The modal coordinator needs a login server; the network names none (network.login_url). Use an "
                "account of this node's own with blockchain.coordinator=wallet, or no chain with =offline."
            )
        from rgym_exp.chain.modal import ModalCoordinator

        return ModalCoordinator(
            rpc_url=rpc_url,
            contract_address=contract_address,
            chain_id=chain_id,
            login_url=login_url,
            token_file=login_token_file or paths.login_token_file(),
            outbox_path=outbox_path,
            market_address=market_address,
            hub=hub,
        )
    if key_file is None:
        raise ValueError("the wallet coordinator needs key_file")
    from rgym_exp.chain.account import load_or_create_account
    from rgym_exp.chain.wallet import WalletCoordinator

    return WalletCoordinator(
        rpc_url=rpc_url,
        contract_address=contract_address,
        chain_id=chain_id,
        account=load_or_create_account(key_file),
        outbox_path=outbox_path,
        # One folder for all homes of this user: nodes of one account must see each other's lock.
        lock_folder=paths.cache_dir() / "locks",
        market_address=market_address,
        hub=hub,
    )

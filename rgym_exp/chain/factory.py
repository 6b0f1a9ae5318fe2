"""Makes a coordinator by the name that the configuration gives it."""

from __future__ import annotations

from pathlib import Path

from rgym_exp.chain.coordinator import ChainError, Coordinator

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
    round_seconds: float = 60.0,
) -> Coordinator:
    """A coordinator of ``kind`` (wallet, modal or offline), made without waiting for the chain.

    wallet needs ``rpc_url``, ``contract_address``, ``key_file`` (made when missing) and ``outbox_path``; modal needs
    ``login_url``; offline takes ``round_seconds``. Raises ChainError, in a sentence, when something needed is missing.
    """
    if kind == "offline":
        from rgym_exp.chain.offline import OfflineCoordinator

        if not round_seconds > 0:
            raise ChainError(f"blockchain.round_seconds is {round_seconds}, but a round needs a length above 0.")
        return OfflineCoordinator(round_seconds=round_seconds)
    if kind == "modal":
        from rgym_exp.chain.modal import connect_through_login_server

        connect_through_login_server(login_url)
    if kind != "wallet":
        raise ChainError(f"There is no coordinator {kind!r}. blockchain.coordinator takes one of: {', '.join(KINDS)}.")
    if rpc_url is None or contract_address is None:
        raise ChainError(
            "The wallet coordinator needs to know where the chain and its contract are; the network names no rpc_url "
            "or coordinator_address. Join with an invite, set both under blockchain, or use "
            "blockchain.coordinator=offline."
        )
    if key_file is None or outbox_path is None:
        raise ValueError("the wallet coordinator needs key_file and outbox_path")
    from rgym_exp.chain.account import load_or_create_account
    from rgym_exp.chain.wallet import WalletCoordinator
    from rgym_exp.config.paths import cache_dir

    return WalletCoordinator(
        rpc_url=rpc_url,
        contract_address=contract_address,
        chain_id=chain_id,
        account=load_or_create_account(key_file),
        outbox_path=outbox_path,
        # One folder for all homes of this user: nodes of one account must see each other's lock.
        lock_folder=cache_dir() / "locks",
    )

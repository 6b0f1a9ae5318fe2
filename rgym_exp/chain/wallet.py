"""The coordinator of a node that holds its own key: web3.py, a key file and an RPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount
from web3.exceptions import Web3Exception

from rgym_exp.chain.account_lock import AccountLock
from rgym_exp.chain.contract import DeployedContract, Reverted, RpcRefusal, SwarmContract
from rgym_exp.chain.contract_coordinator import ContractCoordinator
from rgym_exp.chain.contract_market import FATE_UNKNOWN, Markets
from rgym_exp.chain.contract_views import ContractViews
from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.hub_round import HubRounds
from rgym_exp.chain.market_contract import MarketContract
from rgym_exp.chain.outbox import Outbox
from rgym_exp.chain.outbox_rows import Row, target_of
from rgym_exp.chain.sender import Absent, Outcome, Record, Retry, TransactionRefused
from rgym_exp.chain.sending import RetryPolicy
from rgym_exp.chain.transactions import Fate, Transactor


class WalletCoordinator(ContractCoordinator):
    """Coordinator with a key of its own. Made without asking the chain: a node can start while the chain is away."""

    def __init__(
        self,
        *,
        rpc_url: str,
        contract_address: str,
        chain_id: int | None,
        account: LocalAccount,
        outbox_path: Path,
        lock_folder: Path,
        retry_policy: RetryPolicy | None = None,
        market_address: str | None = None,
        hub: HubRounds | None = None,
    ) -> None:
        """``lock_folder`` must be the same for every node of this user on this machine. ``market_address`` None: the
        swarm has no market. Raises ChainError."""
        contract = SwarmContract(rpc_url, contract_address, chain_id=chain_id)
        # The sender has a client of its own, so that a slow send never holds up the question for the round.
        sending_contract = SwarmContract(rpc_url, contract_address, chain_id=chain_id)
        market = MarketContract(rpc_url, market_address, chain_id=chain_id) if market_address else None
        outbox = Outbox(
            outbox_path, target=target_of(contract.address, chain_id or rpc_url), account=str(account.address)
        )
        super().__init__(
            contract=contract,
            outbox=outbox,
            sender=WalletSender(sending_contract, account, Markets(rpc_url, chain_id=chain_id)),
            lock=AccountLock(lock_folder, account=str(account.address), chain_id=chain_id),
            retry_policy=retry_policy,
            market=market,
            hub=hub,
        )


class WalletSender:
    """Signs rows and sends them itself. A signed transaction is recorded before it leaves, and is only ever sent again
    as it is: with the same nonce, the chain executes it at most once."""

    def __init__(self, contract: SwarmContract, account: LocalAccount, markets: Markets) -> None:
        self.account = str(account.address)
        self.way_to_owner = "use the account that first registered it"
        self.views = ContractViews(contract, markets)
        self._contract = contract
        self._markets = markets
        self._key = account
        self._transactor = Transactor(contract, account)
        self._told: tuple[str, Fate] | None = None
        """Hash and fate of the transaction that was sent last, if the chain told that at once."""

    def send(self, row: Row, record: Record) -> str:
        with _failures_for_outbox(self.account):
            # One that has failed is asked about first: what a refusal in its block means would be found out later.
            routine = row.kind in ("reward", "winners") and row.tries == 0
            signed = self._transactor_of(row).sign(self._call(row), routine=routine)
            record(signed.hash, signed.nonce, signed.raw)
            fate = self._transactor.send(signed)
            self._told = (signed.hash, fate) if fate is not None and fate.status is not None else None
            return signed.hash

    def outcome(self, row: Row) -> Outcome:
        with _failures_for_outbox(self.account):
            return self._outcome(row)

    def registered_to(self, peer_id: str) -> str | None:
        return self.views.registered_to(peer_id)

    def _outcome(self, row: Row) -> Outcome:
        if row.hash is None or row.raw is None or row.nonce is None:
            return self._replaced(row)
        told, self._told = self._told, None
        fate = told[1] if told is not None and told[0] == row.hash else self._transactor.fate(row.hash, row.nonce)
        if fate.status is None and fate.made > row.nonce:
            # Once more: one that was included between the two questions is found by its receipt now.
            fate = self._transactor.fate(row.hash, row.nonce)
        if fate.status is not None:
            if fate.status == 1:
                return "confirmed"
            reason = self._transactor_of(row).explain_revert(self._call(row))
            if reason is not None:
                raise TransactionRefused(reason)
            return "void"
        if fate.made > row.nonce:
            return self._replaced(row)
        if fate.made_or_waiting < row.nonce:
            # The chain was set back, and lost transactions before this one: it waits for numbers that nobody will use.
            return self._replaced(row)
        if not fate.is_known:
            return self._send_again(row, row.raw)
        return "pending"

    def _send_again(self, row: Row, raw: bytes) -> Outcome:
        try:
            self._transactor.broadcast(raw)
        except RpcRefusal as refusal:
            if any(word in str(refusal).lower() for word in ("nonce", "underpriced", "fee")):
                return self._replaced(row)
            raise
        return "pending"

    def _replaced(self, row: Row) -> Outcome:
        """The outcome when the chain seems to have executed something else in place of what was sent.

        It seems so too when one server of the RPC lags behind another. Signing anew is harmless nevertheless where the
        contract takes each write once; a market of an earlier version may take a second bet."""
        if row.kind != "bet":
            return "void"
        taken = self._markets.is_taken(row)
        if taken is None:
            raise TransactionRefused(FATE_UNKNOWN)
        if taken:
            # Whose it is, the owner tells, as after the contract's own refusal.
            raise TransactionRefused("AlreadyGuessed")
        return "void"

    def _transactor_of(self, row: Row) -> Transactor:
        """Names errors as the row's own contract does."""
        return Transactor(self._markets.of(row), self._key) if row.contract else self._transactor

    def _call(self, row: Row) -> Any:
        """The contract call of a row. Raises TransactionRefused when its values can't be encoded."""
        deployed: DeployedContract = self._markets.of(row) if row.contract else self._contract
        contract = deployed.contract
        arguments: tuple[Any, ...]
        if row.kind == "register":
            name, arguments = "registerPeer", (row.peer_id,)
        elif row.kind == "reward":
            name, arguments = "submitReward", (row.round, row.stage, row.payload["reward"], row.peer_id)
        elif row.kind == "winners":
            name, arguments = "submitWinners", (row.round, row.payload["winners"], row.peer_id)
        elif row.kind == "bet":
            choice, stake = row.payload["choice"], row.payload["stake"]
            name, arguments = "guessAnswer", (row.round, row.peer_id, row.stage, choice, stake)
        else:
            name, arguments = "claimReward", (row.round, row.peer_id)
        try:
            contract.encode_abi(name, arguments)
        except (Web3Exception, ValueError, TypeError) as error:
            raise TransactionRefused(f"its values don't fit the contract ({error})") from error
        return contract.functions[name](*arguments)


@contextmanager
def _failures_for_outbox(account: str) -> Iterator[None]:
    try:
        yield
    except Reverted as refusal:
        raise TransactionRefused(refusal.name) from refusal
    except RpcRefusal as refusal:
        said = str(refusal).lower()
        if "insufficient funds" in said:
            raise Retry(
                f"Account {account} can't pay for its transactions. Send it some of the chain's money; what it owes "
                "waits in the outbox meanwhile.",
                counted=False,
            ) from refusal
        # Somebody else used the account's next number first: found out, and signed anew, at the next look.
        raise Retry(str(refusal), counted="nonce" in said or "underpriced" in said) from refusal
    except ChainError as error:
        raise Absent(str(error)) from error

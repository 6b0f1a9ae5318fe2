"""Transactions of one account: signed here, paid for as the chain asks, and watched until they are in a block."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal, cast

from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound
from web3.types import Nonce, TxParams, TxReceipt

from rgym_exp.chain.contract import DeployedContract, Reverted, RpcRefusal, result_of
from rgym_exp.chain.coordinator import ChainUnavailable

GAS_MARGIN = 1.3
"""An estimate is exact for the state it was made on; another peer's write may come in between."""


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A transaction ready to leave, known by its hash before it does."""

    hash: str
    nonce: int
    raw: bytes


class Transactor:
    """Signs with one account for one contract's chain. Every method raises ChainUnavailable, and ChainError when the
    chain is the wrong one."""

    def __init__(self, contract: DeployedContract, account: LocalAccount) -> None:
        self._contract = contract
        self._web3: Web3 = contract.web3
        self.account = account
        self.address = to_checksum_address(account.address)

    def sign(self, call: Any) -> Signed:
        """Sign a contract function (or constructor) call with the account's next nonce.

        Raises Reverted when the contract would refuse it: then nothing is signed, and nothing is paid."""
        chain_id = self._contract.chain_id
        # With every field given web3 asks nothing of its own; these three are the chain's to say.
        blank: TxParams = {"from": self.address, "chainId": chain_id, "nonce": Nonce(0), "gas": 0, **_FREE}
        transaction = self._contract.ask(lambda: call.build_transaction(blank))
        estimated = {"from": self.address, "data": transaction["data"]}
        if transaction.get("to"):
            estimated["to"] = transaction["to"]
        gas, nonce, *fees = self._contract.ask_together(
            ("eth_estimateGas", [estimated]),
            ("eth_getTransactionCount", [self.address, "pending"]),
            ("eth_getBlockByNumber", ["latest", False]),
            ("eth_gasPrice", []),
            ("eth_maxPriorityFeePerGas", []),
        )

        def fields() -> TxParams:
            return {
                "gas": int(int(result_of(gas), 16) * GAS_MARGIN),
                "nonce": Nonce(int(result_of(nonce), 16)),
                **_fees(*fees),
            }

        given = self._contract.ask(fields)
        if "gasPrice" in given:
            transaction = {key: value for key, value in transaction.items() if key not in {*_FREE, "type"}}
        signed = self.account.sign_transaction(cast(dict[str, Any], {**transaction, **given}))
        return Signed(hash=signed.hash.to_0x_hex(), nonce=int(given["nonce"]), raw=bytes(signed.raw_transaction))

    def broadcast(self, raw: bytes) -> None:
        """Hand a signed transaction to the chain; harmless to repeat. Raises RpcRefusal when it won't have it."""
        try:
            self._contract.ask(lambda: self._web3.eth.send_raw_transaction(HexBytes(raw)))
        except RpcRefusal as refusal:
            if not any(
                known in str(refusal).lower() for known in ("already known", "already imported", "known transaction")
            ):
                raise

    def receipt(self, hash: str) -> TxReceipt | None:
        """The receipt, once it is in a block."""

        def look() -> TxReceipt | None:
            try:
                return self._web3.eth.get_transaction_receipt(HexBytes(hash))
            except TransactionNotFound:
                return None

        return self._contract.ask(look)

    def fate(self, hash: str) -> tuple[int, int | None]:
        """How many transactions of this account are in blocks, and the status in its block of the one with this hash
        (1: done, 0: reverted); None while it is in none. One request."""
        made, receipt = self._contract.ask_together(
            ("eth_getTransactionCount", [self.address, "latest"]), ("eth_getTransactionReceipt", [hash])
        )

        def read() -> tuple[int, int | None]:
            found = result_of(receipt)
            return int(result_of(made), 16), None if found is None else int(found["status"], 16)

        return self._contract.ask(read)

    def is_known(self, hash: str) -> bool:
        """Whether the chain has it, in a block or waiting for one."""

        def look() -> bool:
            try:
                self._web3.eth.get_transaction(HexBytes(hash))
            except TransactionNotFound:
                return False
            return True

        return self._contract.ask(look)

    def transactions_made(self, block: Literal["latest", "pending"] = "latest") -> int:
        """How many transactions of this account are in blocks: the lowest nonce that is still free."""
        return int(self._contract.ask(lambda: self._web3.eth.get_transaction_count(self.address, block)))

    def explain_revert(self, call: Any) -> str | None:
        """The name of the error with which the contract refuses the call now; None when it wouldn't."""
        try:
            self._contract.ask(lambda: call.call({"from": self.address}))
        except Reverted as refusal:
            return refusal.name
        return None

    def execute(self, call: Any, *, timeout_seconds: float = 60.0) -> TxReceipt:
        """Sign, send and wait for the block. Raises Reverted; ChainUnavailable when it isn't included in time."""
        signed = self.sign(call)
        self.broadcast(signed.raw)
        deadline = time.monotonic() + timeout_seconds
        pause = 0.02
        while (receipt := self.receipt(signed.hash)) is None:
            if time.monotonic() > deadline:
                raise ChainUnavailable(f"Transaction {signed.hash} wasn't included within {timeout_seconds:.0f} s.")
            time.sleep(pause)
            pause = min(2 * pause, 1.0)
        if receipt["status"] != 1:
            raise Reverted(self.explain_revert(call) or "reverted in its block")
        return receipt


_FREE: TxParams = {"maxFeePerGas": Web3.to_wei(0, "wei"), "maxPriorityFeePerGas": Web3.to_wei(0, "wei")}


def _fees(block: Any, gas_price: Any, tip: Any) -> TxParams:
    """EIP-1559 fees out of the RPC's answers: room for the base fee to double; nothing at all on a chain that charges
    nothing. Raises what ``result_of`` raises."""
    price = Web3.to_wei(int(result_of(gas_price), 16), "wei")
    base_fee = result_of(block).get("baseFeePerGas")
    if base_fee is None:
        return {"gasPrice": price}
    if price == 0:
        # Such a node may still suggest a tip, which an account without money couldn't pay.
        return _FREE
    suggested = int(result_of(tip), 16)
    return {
        "maxFeePerGas": Web3.to_wei(2 * int(base_fee, 16) + suggested, "wei"),
        "maxPriorityFeePerGas": Web3.to_wei(suggested, "wei"),
    }

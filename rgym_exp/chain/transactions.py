"""Transactions of one account: signed here, paid for as the chain asks, and watched until they are in a block."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast

from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound
from web3.types import Nonce, TxParams, TxReceipt

from rgym_exp.chain.contract import DeployedContract, Reverted, RpcRefusal, result_of
from rgym_exp.chain.coordinator import ChainUnavailable
from rgym_exp.chain.last_sent import LastSent

GAS_MARGIN = 1.3
"""An estimate is exact for the state it was made on; another peer's write may come in between."""


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A transaction ready to leave, known by its hash before it does."""

    hash: str
    nonce: int
    raw: bytes


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What the chain says about one transaction."""

    made: int
    """Transactions of the account that are in blocks."""
    made_or_waiting: int
    status: int | None
    """Of its block: 1 done, 0 reverted; None while it is in none."""
    is_known: bool
    """Whether the chain has it, in a block or waiting for one."""


class Transactor:
    """Signs with one account for one contract's chain. Every method raises ChainUnavailable, and ChainError when the
    chain is the wrong one."""

    def __init__(self, contract: DeployedContract, account: LocalAccount) -> None:
        self._contract = contract
        self._web3: Web3 = contract.web3
        self.account = account
        self.address = to_checksum_address(account.address)
        self._last_sent = LastSent()
        self._unasked: str | None = None
        """Hash of the last transaction, if it was signed without asking."""

    def sign(self, call: Any, *, routine: bool = False) -> Signed:
        """Sign a contract function (or constructor) call with the account's next nonce.

        ``routine``: it is one of many alike, so that on a chain without fees nothing need be asked for it: a refusal
        costs nothing there, and shows in its block.

        Raises Reverted when the contract would refuse it: then nothing is signed, and nothing is paid."""
        chain_id = self._contract.chain_id
        # With every field given web3 asks nothing of its own; these three are the chain's to say.
        blank: TxParams = {"from": self.address, "chainId": chain_id, "nonce": Nonce(0), "gas": 0, **_FREE}
        transaction = self._contract.ask(lambda: call.build_transaction(blank))
        function, length = str(getattr(call, "fn_name", "")), len(str(transaction["data"])) // 2
        known = self._last_sent.take(function, data_bytes=length)
        if routine and known is not None:
            gas, number = known
            signed = self._signed({**transaction, "gas": gas, "nonce": Nonce(number)})
            self._unasked = signed.hash
            return signed
        return self._signed(self._asked(function, length, transaction))

    def _asked(self, function: str, length: int, transaction: TxParams) -> TxParams:
        """The transaction with what the chain says to it. Raises Reverted."""
        estimated: dict[str, Any] = {"from": self.address, "data": transaction["data"]}
        if transaction.get("to"):
            estimated["to"] = transaction["to"]
        gas, nonce, *fees = self._contract.ask_together(
            # Not as of the pending block, for which a local chain would execute everybody's waiting transactions.
            ("eth_estimateGas", [estimated, "latest"]),
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
        is_free = "gasPrice" not in given and given["maxFeePerGas"] == 0
        self._last_sent.asked(function, gas=given["gas"], data_bytes=length, is_free=is_free)
        if "gasPrice" in given:
            kept = {key: value for key, value in transaction.items() if key not in {*_FREE, "type"}}
            return cast(TxParams, {**kept, **given})
        return {**transaction, **given}

    def _signed(self, transaction: TxParams) -> Signed:
        signed = self.account.sign_transaction(cast(dict[str, Any], transaction))
        return Signed(hash=signed.hash.to_0x_hex(), nonce=int(transaction["nonce"]), raw=bytes(signed.raw_transaction))

    def send(self, signed: Signed) -> Fate | None:
        """Hand it to the chain and ask at once what became of it, in one request; harmless to repeat.

        None while it is in no block. Raises RpcRefusal when the chain won't have it."""
        sent, made, receipt = self._contract.ask_together(
            ("eth_sendRawTransaction", [HexBytes(signed.raw).to_0x_hex()]), *self._in_blocks(signed.hash)
        )
        try:
            self._contract.ask(lambda: result_of(sent))
        except RpcRefusal as refusal:
            if not _is_known_already(refusal):
                # A chain that is away, or has been asked too much, says nothing about what was sent.
                if self._unasked == signed.hash and _is_about_number_or_gas(refusal):
                    self._last_sent.failed()
                raise
        if not receipt.get("result"):
            return None
        # In a block, so that nothing waits and it is known: the other questions are for what isn't.
        return self._fate(signed.hash, signed.nonce, [made, receipt, made, receipt])

    def broadcast(self, raw: bytes) -> None:
        """Hand a signed transaction to the chain; harmless to repeat. Raises RpcRefusal when it won't have it."""
        try:
            self._contract.ask(lambda: self._web3.eth.send_raw_transaction(HexBytes(raw)))
        except RpcRefusal as refusal:
            if not _is_known_already(refusal):
                raise

    def receipt(self, hash: str) -> TxReceipt | None:
        """The receipt, once it is in a block."""

        def look() -> TxReceipt | None:
            try:
                return self._web3.eth.get_transaction_receipt(HexBytes(hash))
            except TransactionNotFound:
                return None

        return self._contract.ask(look)

    def fate(self, hash: str, nonce: int) -> Fate:
        """What became of the transaction with this hash and number. One request."""
        return self._fate(
            hash,
            nonce,
            self._contract.ask_together(
                *self._in_blocks(hash),
                ("eth_getTransactionCount", [self.address, "pending"]),
                ("eth_getTransactionByHash", [hash]),
            ),
        )

    def _in_blocks(self, hash: str) -> list[tuple[str, list[Any]]]:
        return [("eth_getTransactionCount", [self.address, "latest"]), ("eth_getTransactionReceipt", [hash])]

    def _fate(self, hash: str, nonce: int, answers: list[Any]) -> Fate:
        def read() -> Fate:
            made, receipt, made_or_waiting, known = map(result_of, answers)
            return Fate(
                made=int(made, 16),
                made_or_waiting=int(made_or_waiting, 16),
                status=None if receipt is None else int(receipt["status"], 16),
                is_known=known is not None,
            )

        fate = self._contract.ask(read)
        if fate.status == 1:
            self._last_sent.confirmed(nonce, made=fate.made)
        elif fate.status == 0 and hash == self._unasked:
            self._last_sent.failed()
        return fate

    def transactions_made(self) -> int:
        """How many transactions of this account are in blocks: the lowest nonce that is still free."""
        return int(self._contract.ask(lambda: self._web3.eth.get_transaction_count(self.address, "latest")))

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


def _is_known_already(refusal: RpcRefusal) -> bool:
    """Whether the chain refuses a transaction because it has it."""
    said = str(refusal).lower()
    return any(known in said for known in ("already known", "already imported", "known transaction"))


def _is_about_number_or_gas(refusal: RpcRefusal) -> bool:
    """Whether the chain refuses a transaction for what would have been asked for before it was signed."""
    said = str(refusal).lower()
    return any(word in said for word in ("nonce", "underpriced", "gas", "fee"))


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

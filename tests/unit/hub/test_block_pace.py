"""When the hub's own chain makes its blocks: one for each transaction, or for many together. Against a real anvil."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.datastructures import SignedTransaction
from eth_account.signers.local import LocalAccount

from rgym_exp.chain.devnet import Devnet
from rgym_exp.hub import block_pace
from rgym_exp.hub.api import chain_forwarder
from rgym_exp.hub.block_pace import MANY_PER_SECOND, BlockPace
from rgym_exp.hub.rpc_proxy import Forward


class Orders:
    """The chain's own ear, which can be made to hear nothing for a while."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self.away = False
        self.unheard = asyncio.Queue[str]()
        """Orders that found it away."""

    async def forward(self, calls: list[dict[str, Any]]) -> Any:
        if self.away:
            self.unheard.put_nowait(f"{calls[0]['method']} {calls[0]['params']}")
            raise TimeoutError
        return await self._forward(calls)


class Pace:
    """The pace at work before a devnet."""

    def __init__(self, pace: BlockPace, devnet: Devnet, orders: Orders) -> None:
        self.orders = orders
        self._pace = pace
        self._devnet = devnet

    async def ask(self, method: str, *parameters: Any) -> Any:
        answer = (
            await self._pace.forward([{"jsonrpc": "2.0", "id": 0, "method": method, "params": list(parameters)}])
        )[0]
        assert "error" not in answer, answer
        return answer["result"]

    async def send(self, account: LocalAccount, nonce: int = 0) -> str:
        return str(await self.ask("eth_sendRawTransaction", self._signed(account, nonce).raw_transaction.to_0x_hex()))

    async def send_and_look(self, account: LocalAccount) -> str | None:
        """The status that the batch of a second transaction finds for it."""
        signed = self._signed(account, 1)
        asked = [
            ("eth_sendRawTransaction", signed.raw_transaction.to_0x_hex()),
            ("eth_getTransactionReceipt", signed.hash.to_0x_hex()),
        ]
        answers = await self._pace.forward(
            [
                {"jsonrpc": "2.0", "id": number, "method": name, "params": [given]}
                for number, (name, given) in enumerate(asked)
            ]
        )
        receipt = next(each["result"] for each in answers if each["id"] == 1)
        return receipt and str(receipt["status"])

    def _signed(self, account: LocalAccount, nonce: int) -> SignedTransaction:
        signed: SignedTransaction = account.sign_transaction(
            {
                "to": account.address,
                "value": 0,
                "gas": 21_000,
                "nonce": nonce,
                "chainId": self._devnet.chain_id,
                "maxFeePerGas": 0,
                "maxPriorityFeePerGas": 0,
            }
        )
        return signed

    async def block_of(self, transaction: str) -> int | None:
        receipt = await self.ask("eth_getTransactionReceipt", transaction)
        return int(receipt["blockNumber"], 16) if receipt else None


@pytest.fixture
async def pace(tmp_path: Path) -> AsyncIterator[Pace]:
    devnet = await asyncio.to_thread(Devnet.start, tmp_path)
    try:
        async with chain_forwarder(devnet.rpc_url) as forward:
            orders = Orders(forward)
            pace = BlockPace(forward, orders.forward)
            running = asyncio.create_task(pace.run())
            yield Pace(pace, devnet, orders)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    finally:
        await asyncio.to_thread(devnet.stop)


async def test_a_transaction_in_a_calm_swarm_has_its_block_at_once(pace: Pace) -> None:
    for number in (1, 2, 3):
        sent = await pace.send(Account.create())
        async with asyncio.timeout(20):  # anvil answers the sender a moment before the block is there
            while (block := await pace.block_of(sent)) is None:
                await asyncio.sleep(0)
        assert block == number


async def test_many_transactions_share_blocks_and_each_is_answered_after_its_block(
    pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reported(account: LocalAccount) -> int | None:
        return await pace.block_of(await pace.send(account, 1))

    accounts = [Account.create() for _ in range(5 * MANY_PER_SECOND)]
    await asyncio.gather(*(pace.send(account) for account in accounts))
    blocks = await asyncio.gather(*(reported(account) for account in accounts))
    assert None not in blocks and len(set(blocks)) < len(accounts) / 4

    monkeypatch.setattr(block_pace, "CALM_SECONDS", 0.0)
    calm = Account.create()
    async with asyncio.timeout(20):  # Each has its own block again, once it is calm.
        nonce, own = 0, False
        while not own:
            first, second = await pace.send(calm, nonce), await pace.send(calm, nonce + 1)
            own = (await pace.block_of(first)) != (await pace.block_of(second)) is not None
            nonce += 2


async def test_what_is_asked_in_a_batch_after_a_transaction_is_asked_after_its_block(pace: Pace) -> None:
    first = [Account.create() for _ in range(5 * MANY_PER_SECOND)]
    await asyncio.gather(*(pace.send(account) for account in first))
    found = set(await asyncio.gather(*(pace.send_and_look(account) for account in first)))
    # On a busy machine one or the other may be answered before its block, as it would have been without the wait.
    assert "0x1" in found and found <= {"0x1", None}


async def test_a_chain_that_cannot_be_told_that_it_is_calm_is_told_again(
    pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = [Account.create() for _ in range(5 * MANY_PER_SECOND)]
    await asyncio.gather(*(pace.send(account) for account in accounts))
    pace.orders.away = True
    monkeypatch.setattr(block_pace, "CALM_SECONDS", 0.0)
    async with asyncio.timeout(20):
        for _ in range(2):
            while await pace.orders.unheard.get() != "evm_setAutomine [True]":
                pass
        pace.orders.away = False
        transaction = await pace.send(Account.create())
        while await pace.block_of(transaction) is None:
            await asyncio.sleep(0.05)

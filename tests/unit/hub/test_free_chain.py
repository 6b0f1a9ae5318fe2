"""Clients that are made for another chain are told in one line what to set, on a real chain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from rgym_exp.chain.devnet import Devnet
from rgym_exp.hub.api import chain_forwarder
from rgym_exp.hub.free_chain import chain_signed_for
from rgym_exp.hub.rate_limit import RateLimit
from rgym_exp.hub.rpc_proxy import RpcProxy

FIVE_GWEI = 5 * 10**9
"""What the first RL Swarm's client pays for gas, whatever the chain asks."""
TESTNET = 685685


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    folder: Path = tmp_path_factory.mktemp("devnet")
    with Devnet.start(folder) as running:
        yield running


def signed(**fields: Any) -> bytes:
    account = Account.create()
    usual = {"to": account.address, "value": 0, "gas": 2_000_000, "nonce": 0}
    return bytes(account.sign_transaction({**usual, **fields}).raw_transaction)


async def sent(devnet: Devnet, raw: bytes) -> dict[str, Any]:
    """The answer of a hub's proxy before this chain."""
    request = {"jsonrpc": "2.0", "id": 7, "method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]}
    async with chain_forwarder(devnet.rpc_url) as forward:
        limit = RateLimit(per_second=0, burst=1e6)
        proxy = RpcProxy(forward=forward, rate_limit=limit, free_chain_id=devnet.chain_id)
        answer: dict[str, Any] = await proxy.answer(json.dumps(request).encode(), "client")
    return answer


async def test_a_transaction_for_the_testnet_is_refused_with_the_chain_id_to_set(devnet: Devnet) -> None:
    answer = await sent(devnet, signed(gasPrice=FIVE_GWEI, chainId=TESTNET))
    message = answer["error"]["message"]
    assert message.startswith(f"This transaction is signed for chain {TESTNET}, and this is chain {devnet.chain_id}:")
    assert f"set the client's chain id to {devnet.chain_id} and its gas price to 0" in message
    assert "\n" not in message


async def test_a_fixed_gas_price_is_refused_with_the_price_to_set(devnet: Devnet) -> None:
    answer = await sent(devnet, signed(gasPrice=FIVE_GWEI, chainId=devnet.chain_id))
    assert "This chain has no fees" in answer["error"]["message"]
    assert answer["error"]["message"].endswith("set the client's gas price to 0.")


async def test_with_both_set_it_is_taken(devnet: Devnet) -> None:
    answer = await sent(devnet, signed(gasPrice=0, chainId=devnet.chain_id))
    assert "result" in answer


@pytest.mark.parametrize(
    "fields",
    [
        {"gasPrice": 1},
        {"maxFeePerGas": 1, "maxPriorityFeePerGas": 0},
        {"maxFeePerGas": 1, "maxPriorityFeePerGas": 0, "data": "0x" + 300 * "ab"},
        {"gasPrice": 1, "data": "0x" + 70_000 * "cd"},
        {"gasPrice": 1, "accessList": [], "type": 1},
    ],
    ids=["legacy", "fees", "long", "very long", "access list"],
)
@pytest.mark.parametrize("chain_id", [1, 31337, TESTNET, 2**40])
def test_the_chain_is_read_from_every_kind_of_transaction(fields: dict[str, Any], chain_id: int) -> None:
    assert chain_signed_for(signed(**fields, chainId=chain_id)) == chain_id


@given(st.binary(max_size=200))
def test_no_bytes_raise(raw: bytes) -> None:
    chain_signed_for(raw)

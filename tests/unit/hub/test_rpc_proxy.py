"""What gets through the proxy, with a chain that records what reaches it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgym_exp.hub.rate_limit import RateLimit
from rgym_exp.hub.rpc_proxy import MAX_BATCH, MAX_BODY_BYTES, MAX_LOG_BLOCKS, READS, SEND, RpcProxy


class Chain:
    """Answers every call with its method's name, and keeps what it was asked."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.failure: Exception | None = None

    async def forward(self, calls: list[dict[str, Any]]) -> Any:
        if self.failure:
            raise self.failure
        self.seen += calls
        answers = [
            {"jsonrpc": "2.0", "id": call["id"], "result": "0x2710" if "Number" in call["method"] else call["method"]}
            for call in calls
        ]
        return list(reversed(answers))  # a batch's answers may come in any order


def proxy_to(chain: Chain, burst: float = 1e6) -> RpcProxy:
    return RpcProxy(forward=chain.forward, rate_limit=RateLimit(per_second=0, burst=burst))


def call(method: str, *params: Any, id: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": list(params)}


async def ask(proxy: RpcProxy, request: Any) -> Any:
    return await proxy.answer(json.dumps(request).encode(), "client")


HARMLESS_PARAMS: dict[str, list[Any]] = {
    SEND: ["0x02f8"],
    "eth_getLogs": [{"blockHash": "0x00"}],
    "eth_feeHistory": ["0x4", "latest", []],
}


@pytest.mark.parametrize("method", sorted(READS | {SEND}))
async def test_reads_and_signed_transactions_pass(method: str) -> None:
    chain = Chain()
    answer = await ask(proxy_to(chain), call(method, *HARMLESS_PARAMS.get(method, []), id="x"))
    assert (answer["id"], "result" in answer) == ("x", True)
    assert [seen["method"] for seen in chain.seen] == [method]


@pytest.mark.parametrize(
    "method",
    [
        "eth_sendTransaction",
        "eth_sendUnsignedTransaction",
        "eth_sign",
        "eth_accounts",
        "personal_unlockAccount",
        "anvil_setBalance",
        "anvil_impersonateAccount",
        "evm_mine",
        "evm_setNextBlockTimestamp",
        "hardhat_setCode",
        "debug_traceTransaction",
        "txpool_content",
        "ots_getBlockDetails",
        "eth_newFilter",
        "eth_getStorageAt",
        "ETH_CALL",
        "eth_call ",
        "",
    ],
)
async def test_everything_else_is_an_unknown_method(method: str) -> None:
    chain = Chain()
    answer = await ask(proxy_to(chain), call(method))
    assert answer["error"]["code"] == -32601
    assert chain.seen == []


async def test_a_batch_keeps_its_order_and_only_its_good_calls_reach_the_chain() -> None:
    chain = Chain()
    batch = [
        call("eth_chainId", id="a"),
        call("anvil_reset", id="a"),
        call("eth_gasPrice", id=None),
        7,
        call("eth_call"),
    ]
    answers = await ask(proxy_to(chain), batch)
    assert [answer["id"] for answer in answers] == ["a", "a", None, None, 1]
    assert [answer.get("result") or answer["error"]["code"] for answer in answers] == [
        "eth_chainId",
        -32601,
        "eth_gasPrice",
        -32600,
        "eth_call",
    ]
    assert [seen["method"] for seen in chain.seen] == ["eth_chainId", "eth_gasPrice", "eth_call"]


async def test_of_two_methods_in_one_object_the_chain_sees_the_one_that_was_checked() -> None:
    chain = Chain()
    body = b'{"jsonrpc":"2.0","id":1,"method":"anvil_reset","method":"eth_chainId","a":{"method":"evm_mine"}}'
    await proxy_to(chain).answer(body, "client")
    assert chain.seen == [{"jsonrpc": "2.0", "id": 0, "method": "eth_chainId", "params": []}]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"[" * 1_999, -32700),
        (b"[" * 100_000, -32700),
        (("[" * 20_000).encode("utf-16"), -32700),
        (b'{"a":' * 20_000, -32700),
        (b'{"id": NaN, "method": "eth_chainId"}', -32700),
        (b"9" * 5000, -32700),
        (b"{}", -32600),
        (b'"eth_chainId"', -32600),
        (b"null", -32600),
        (b"[]", -32600),
        (json.dumps([call("eth_chainId")] * (MAX_BATCH + 1)).encode(), -32600),
        (b" " * (MAX_BODY_BYTES + 1), -32600),
        (b'{"method": "eth_chainId"}', -32600),
        (b'{"id": {}, "method": "eth_chainId"}', -32600),
        (b'{"id": 1, "method": ["eth_chainId"]}', -32600),
        (b'{"id": 1, "method": "eth_chainId", "params": {"a": 1}}', -32602),
    ],
)
async def test_what_is_no_call_is_refused_with_the_standard_code(body: bytes, code: int) -> None:
    chain = Chain()
    answer = await proxy_to(chain).answer(body, "client")
    assert answer["error"]["code"] == code
    assert chain.seen == []


@pytest.mark.parametrize(
    "request_",
    [
        call("eth_call", {}, "latest", {"0x00": {"balance": "0x1"}}),
        call("eth_estimateGas", {}, "latest", {}),
        call("eth_feeHistory", 5000, "latest", []),
        call("eth_feeHistory", "0xffffffffff", "latest", []),
        call("eth_feeHistory", -1, "latest", []),
        call("eth_feeHistory", "-0x1", "latest", []),
        call("eth_feeHistory", {}),
        call("eth_feeHistory"),
        call(SEND, "0x" + "00" * 200_000),
        call(SEND, "02f8"),
        call(SEND, "0xzz"),
        call(SEND, "0x0"),
        call(SEND, {"from": "0x00"}),
        call(SEND, "0x00", "0x00"),
        call("eth_getLogs"),
        call("eth_getLogs", "0x00"),
        call("eth_getLogs", {"fromBlock": "soon"}),
        call("eth_getLogs", {"fromBlock": 0}),
        call("eth_getLogs", {"fromBlock": None}),
        call("eth_getLogs", {"fromBlock": "0x_0"}),
        call("eth_getLogs", {"blockHash": None, "fromBlock": "0x0"}),
        call("eth_getLogs", {"blockHash": "0xab", "fromBlock": "0x0"}),
        call("eth_getLogs", {"fromBlock": "earliest"}),
        call("eth_getLogs", {"fromBlock": "0x0", "toBlock": hex(MAX_LOG_BLOCKS)}),
        call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"}),
    ],
)
async def test_a_permitted_method_with_too_much_in_it_is_refused(request_: dict[str, Any]) -> None:
    chain = Chain()
    answer = await ask(proxy_to(chain), request_)
    assert "error" in answer
    assert {seen["method"] for seen in chain.seen} <= {"eth_blockNumber"}


@pytest.mark.parametrize(
    "parameter",
    [
        "1e999",
        "-1e999",
        '{"gas": 1e999}',
        r'"\ud800"',
        r'{"\ud800": 1}',
        "[" * 200 + "]" * 200,
        '{"a":' * 40 + "1" + "}" * 40,
        "[" + "0," * 100_000 + "0]",
        '{"$serde_json::private::RawValue": "["}',
        '{"fromBlock": {"$serde_json::private::Number": "x"}}',
    ],
)
@pytest.mark.parametrize("method", ["eth_chainId", "eth_getLogs"])
async def test_what_the_chain_would_read_otherwise_or_not_at_all_is_refused_and_the_rest_of_its_batch_is_not(
    method: str, parameter: str
) -> None:
    chain = Chain()
    harmless = json.dumps(call("eth_gasPrice"))
    body = f'[{harmless}, {{"id": 2, "method": "{method}", "params": [{parameter}]}}]'
    answers = await proxy_to(chain).answer(body.encode(), "client")
    assert [answer.get("result") or answer["error"]["code"] for answer in answers] == ["eth_gasPrice", -32602]
    assert [seen["method"] for seen in chain.seen] == ["eth_gasPrice"]


async def test_params_as_deep_as_honest_ones_and_with_any_whole_character_pass() -> None:
    chain = Chain()
    filter_ = {"topics": [["0x00", None], [["\U0001f41d"]]], "address": []}
    answer = await ask(proxy_to(chain), call("eth_getLogs", filter_))
    assert "result" in answer and chain.seen[0]["params"] == [filter_]


async def test_an_id_that_is_no_number_in_json_is_refused_and_not_sent_back() -> None:
    answer = await proxy_to(Chain()).answer(b'{"id": 1e999, "method": "eth_chainId"}', "client")
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"fromBlock": "latest"},
        {"fromBlock": "0x2700"},  # 16 below the newest, 0x2710
        {"fromBlock": "0x0", "toBlock": hex(MAX_LOG_BLOCKS - 1)},
        {"blockHash": "0xab"},
    ],
)
async def test_a_search_within_the_block_limit_passes(query: dict[str, Any]) -> None:
    chain = Chain()
    answer = await ask(proxy_to(chain), call("eth_getLogs", query))
    assert answer["result"] == "eth_getLogs"


async def test_a_client_that_asks_too_much_is_refused_and_others_are_not() -> None:
    chain = Chain()
    proxy = proxy_to(chain, burst=3)
    answers = await ask(proxy, [call("eth_chainId")] * 5)
    assert [("result" in answer) for answer in answers] == [True, True, True, False, False]
    assert answers[-1]["error"]["code"] == -32005
    other = await proxy.answer(json.dumps(call("eth_chainId")).encode(), "another client")
    assert "result" in other


@pytest.mark.parametrize("method", [SEND, "eth_estimateGas"])
async def test_a_transaction_and_an_estimate_cost_more_of_the_allowance_than_a_read(method: str) -> None:
    chain = Chain()
    answers = await ask(proxy_to(chain, burst=19), [call(method, "0x00"), call(method, "0x00"), call("eth_chainId")])
    assert [("result" in answer) for answer in answers] == [True, False, True]


@pytest.mark.parametrize(
    "failure", [ConnectionRefusedError("no"), TimeoutError(), ValueError("not JSON"), RecursionError()]
)
async def test_a_chain_that_is_away_is_a_json_rpc_error(failure: Exception) -> None:
    chain = Chain()
    chain.failure = failure
    answers = await ask(proxy_to(chain), [call("eth_chainId", id=5), call("eth_getLogs", {"fromBlock": "0x1"}, id=6)])
    assert [answer["id"] for answer in answers] == [5, 6]
    assert all("error" in answer for answer in answers)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "method", "params", "jsonrpc"]), inner),
    ).map(lambda value: json.dumps(value).encode())
)
async def test_no_body_gets_an_exception_or_an_unlisted_method_through(body: bytes) -> None:
    chain = Chain()
    answer = await proxy_to(chain).answer(body, "client")
    json.dumps(answer)
    assert {seen["method"] for seen in chain.seen} <= READS | {SEND}

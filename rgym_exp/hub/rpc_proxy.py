"""The RPC proxy: strangers may read the chain and send signed transactions, and nothing else.

A development chain answers ``anvil_setBalance``, ``evm_mine`` or ``eth_sendTransaction`` from unlocked accounts:
whoever reaches it owns it. So the chain listens on loopback, and this proxy forwards what is on a list. What gets
through is rebuilt from its parsed parts, so that the chain and the proxy can't read the same bytes differently.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Awaitable, Callable
from typing import Any

from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.hub.free_chain import about_fees, chain_signed_for, wrong_chain
from rgym_exp.hub.rate_limit import RateLimit

log = logging.getLogger("rl_swarm.hub.rpc_proxy")

ESTIMATE = "eth_estimateGas"
READS: frozenset[str] = frozenset(
    {
        "eth_blockNumber",
        "eth_call",
        "eth_chainId",
        ESTIMATE,
        "eth_feeHistory",
        "eth_gasPrice",
        "eth_getBalance",
        "eth_getBlockByNumber",
        "eth_getCode",
        "eth_getLogs",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
        "eth_getTransactionReceipt",
        "eth_maxPriorityFeePerGas",
        "net_version",
        "web3_clientVersion",
    }
)
SEND = "eth_sendRawTransaction"

MAX_BODY_BYTES = 256 * 1024
MAX_BATCH = 40
MAX_RAW_TRANSACTION_BYTES = 128 * 1024
"""What Ethereum nodes commonly accept; a whole year of votes is far below it."""
MAX_LOG_BLOCKS = 2_000
MAX_FEE_BLOCKS = 1_024
MAX_DEPTH = 32
"""Of lists and objects within each other in params; a filter of logs has four."""
MAX_VALUES = 8_192
"""In the params of one call, so that looking at each of them takes no time."""
SEND_COST = 10.0
"""A transaction draws this many times what a read draws from a client's allowance: it makes the chain grow."""
COSTS = {SEND: SEND_COST, ESTIMATE: SEND_COST}
"""An estimate costs as much: the chain runs the call several times, and an endless one up to the block's gas."""

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
UPSTREAM_AWAY, TOO_MANY = -32000, -32005
AWAY = "The hub's chain does not answer just now; try again."

_RAW_TRANSACTION = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_BLOCK_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}")

_ID_TYPES = (str, int, float, type(None))

Forward = Callable[[list[dict[str, Any]]], Awaitable[Any]]
"""Sends a list of JSON-RPC calls to the chain as one batch and returns the parsed answer; raises OSError,
TimeoutError or ValueError when there is none."""


class CallRefused(Exception):
    """This call doesn't get through; carries the JSON-RPC error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class RpcProxy:
    """Answers JSON-RPC bodies of strangers with the help of the chain behind it."""

    def __init__(self, *, forward: Forward, rate_limit: RateLimit, free_chain_id: int | None = None) -> None:
        """``free_chain_id``: the chain is the hub's own, without fees, and this is its id."""
        self._forward = forward
        self._rate_limit = rate_limit
        self._free_chain_id = free_chain_id

    async def answer(self, body: bytes, client: str) -> Any:
        """The JSON-RPC answer (an object, or a list for a batch) to one body from one client. Never raises."""
        try:
            request = _parse(body)
        except CallRefused as refusal:
            return _error(None, refusal)
        batch = request if isinstance(request, list) else [request]
        answers = await self._answer_batch(batch, client)
        return answers if isinstance(request, list) else answers[0]

    async def _answer_batch(self, batch: list[Any], client: str) -> list[Any]:
        """Answers in the order of the calls; what is allowed goes to the chain in one batch."""
        answers: list[Any] = [None] * len(batch)
        admitted: list[dict[str, Any]] = []
        for place, call in enumerate(batch):
            try:
                admitted.append(await self._admit(call, place, client))
            except CallRefused as refusal:
                answers[place] = _error(_id_of(call), refusal)
        for place, result in (await self._ask(admitted)).items():
            answers[place] = {"jsonrpc": "2.0", "id": batch[place]["id"], **self._explained(result)}
        return answers

    def _explained(self, result: dict[str, Any]) -> dict[str, Any]:
        """The chain's answer, where it is an error of one without fees with what to do about it."""
        error = result.get("error")
        if self._free_chain_id is None or not isinstance(error, dict) or not isinstance(error.get("message"), str):
            return result
        return {"error": {**error, "message": about_fees(error["message"])}}

    async def _admit(self, call: Any, place: int, client: str) -> dict[str, Any]:
        """The call rebuilt for the chain, with its place in the batch as id. Raises CallRefused."""
        method, params = check_call(call)
        if not self._rate_limit.allow(client, COSTS.get(method, 1.0)):
            raise CallRefused(
                TOO_MANY, "Too many requests from this address; slow down and try again in a few seconds."
            )
        if method == "eth_getLogs":
            await self._check_log_range(params)
        if method == SEND and self._free_chain_id is not None:
            signed_for = chain_signed_for(bytes.fromhex(params[0][2:]))
            if signed_for is not None and signed_for != self._free_chain_id:
                raise CallRefused(INVALID_PARAMS, wrong_chain(signed_for, self._free_chain_id))
        return {"jsonrpc": "2.0", "id": place, "method": method, "params": params}

    async def _check_log_range(self, params: list[Any]) -> None:
        """Refuse a search through more than MAX_LOG_BLOCKS blocks."""
        query = params[0] if len(params) == 1 and isinstance(params[0], dict) else None
        if query is None:
            raise CallRefused(INVALID_PARAMS, "eth_getLogs takes one filter object.")
        if "blockHash" in query:
            if not isinstance(query["blockHash"], str) or "fromBlock" in query or "toBlock" in query:
                raise CallRefused(INVALID_PARAMS, "A filter names either one block by its hash, or a range.")
            return
        bounds = [query.get(bound, "latest") for bound in ("fromBlock", "toBlock")]
        numbers = [_block_number(bound) for bound in bounds]
        if bounds != ["latest", "latest"] and None in numbers:
            answer = await self._ask([{"jsonrpc": "2.0", "id": 0, "method": "eth_blockNumber", "params": []}])
            if "error" in answer[0]:
                raise CallRefused(UPSTREAM_AWAY, AWAY)
            latest = _block_number(answer[0]["result"])
            numbers = [latest if number is None else number for number in numbers]
        first, last = numbers
        if first is not None and last is not None and last - first >= MAX_LOG_BLOCKS:
            raise CallRefused(
                INVALID_PARAMS, f"eth_getLogs is limited to {MAX_LOG_BLOCKS} blocks a call; ask in pieces."
            )

    async def _ask(self, calls: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """Place -> the chain's result or error."""
        away = {"error": {"code": UPSTREAM_AWAY, "message": AWAY}}
        answers: dict[int, dict[str, Any]] = {call["id"]: away for call in calls}
        if not calls:
            return answers
        try:
            replies = await self._forward(calls)
        except (OSError, TimeoutError, ValueError, RecursionError) as error:
            log.warning("The chain behind the proxy did not answer: %s", error)
            return answers
        for reply in replies if isinstance(replies, list) else []:
            if isinstance(reply, dict) and reply.get("id") in answers:
                part = "error" if "error" in reply else "result"
                answers[reply["id"]] = {part: reply.get(part)}
        return answers


def check_call(call: Any) -> tuple[str, list[Any]]:
    """Method and parameters of a call that may pass; raises CallRefused for every other. Asks nobody."""
    if not isinstance(call, dict) or not isinstance(call.get("method"), str) or "id" not in call:
        raise CallRefused(INVALID_REQUEST, "A call is an object with jsonrpc, id, method and params.")
    if not isinstance(call["id"], _ID_TYPES) or not _is_usual(call["id"]):
        raise CallRefused(INVALID_REQUEST, "The id of a call is a string or a number.")
    method, params = call["method"], call.get("params") or []
    if method not in READS and method != SEND:
        raise CallRefused(METHOD_NOT_FOUND, f"{method[:64]} is not offered here: only reads and {SEND}.")
    if not isinstance(params, list):
        raise CallRefused(INVALID_PARAMS, "params must be a list.")
    if not _is_usual(params):
        raise CallRefused(
            INVALID_PARAMS,
            "params hold a number, a text or a name that not everybody reads as such, or are too many or too deep.",
        )
    if method in ("eth_call", ESTIMATE) and len(params) > 2:
        raise CallRefused(INVALID_PARAMS, f"{method} takes a transaction and a block here; overrides are not offered.")
    if method == "eth_feeHistory" and not _is_small_count(params[:1]):
        raise CallRefused(INVALID_PARAMS, f"eth_feeHistory is limited to {MAX_FEE_BLOCKS} blocks.")
    if method == SEND and not _is_raw_transaction(params):
        raise CallRefused(
            INVALID_PARAMS, f"{SEND} takes one 0x-hex string of at most {MAX_RAW_TRANSACTION_BYTES} bytes."
        )
    return method, params


def _parse(body: bytes) -> Any:
    """The request as an object or a list of 1 .. MAX_BATCH; raises CallRefused."""
    if len(body) > MAX_BODY_BYTES:
        raise CallRefused(INVALID_REQUEST, f"A request may have at most {MAX_BODY_BYTES} bytes.")
    try:
        request = shallow_json(body)
    except ValueError as error:
        raise CallRefused(PARSE_ERROR, "The request is not JSON, or nested too deeply.") from error
    if isinstance(request, list) and not 1 <= len(request) <= MAX_BATCH:
        raise CallRefused(INVALID_REQUEST, f"A batch has 1 to {MAX_BATCH} calls.")
    return request


def _is_usual(value: Any) -> bool:
    """Whether every parser reads this value, and reads the same in it.

    Python takes 1e999, half a character (a lone surrogate) and any depth; the chain refuses a body with one of them as
    a whole, others' calls included. And a name with a dollar may be an order to the chain's parser (serde's
    ``$serde_json::private::RawValue`` puts a parsed text in the object's place, which nobody here has looked at).
    """
    level, count = [value], 0
    for _ in range(MAX_DEPTH):
        count += len(level)
        if count > MAX_VALUES or not all(_is_usual_alone(each) for each in level):
            return False
        lists = [each for each in level if isinstance(each, list)]
        objects = [each for each in level if isinstance(each, dict)]
        if any(name.startswith("$") for each in objects for name in each):
            return False
        level = [inner for each in lists for inner in each]
        level += [part for each in objects for pair in each.items() for part in pair]
        if not level:
            return True
    return False


def _is_usual_alone(value: Any) -> bool:
    """``_is_usual``, whatever lies within."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    return True


def _block_number(block: Any) -> int | None:
    """Number of a block parameter; None for a tag that means the newest block. Raises CallRefused otherwise."""
    if block == "earliest":
        return 0
    if block in ("latest", "pending", "safe", "finalized"):
        return None
    if not isinstance(block, str) or not _BLOCK_NUMBER.fullmatch(block):
        raise CallRefused(INVALID_PARAMS, "A block is 0x-hex, or one of earliest, latest, pending.")
    return int(block, 16)


def _is_small_count(params: list[Any]) -> bool:
    """Whether the first parameter is a count of at most MAX_FEE_BLOCKS, as a number or 0x-hex."""
    try:
        count = int(params[0], 16) if isinstance(params[0], str) else int(params[0])
    except (IndexError, TypeError, ValueError, OverflowError):
        return False
    return 0 <= count <= MAX_FEE_BLOCKS


def _is_raw_transaction(params: list[Any]) -> bool:
    """Whether the parameters are one 0x-hex string within the size limit."""
    if len(params) != 1 or not isinstance(params[0], str) or len(params[0]) > 2 + 2 * MAX_RAW_TRANSACTION_BYTES:
        return False
    return bool(_RAW_TRANSACTION.fullmatch(params[0]))


def _id_of(call: Any) -> Any:
    """The id to answer to, None when there is no usable one."""
    identifier = call.get("id") if isinstance(call, dict) else None
    return identifier if isinstance(identifier, str | int | float) and _is_usual(identifier) else None


def _error(identifier: Any, refusal: CallRefused) -> dict[str, Any]:
    """A JSON-RPC error answer."""
    return {"jsonrpc": "2.0", "id": identifier, "error": {"code": refusal.code, "message": str(refusal)}}

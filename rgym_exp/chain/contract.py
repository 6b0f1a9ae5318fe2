"""A contract over JSON-RPC: calls by name, and every failure as one of three typed errors.

- ``Reverted``: the contract refused; carries its error's name, found by selector in the ABI.
- ``ChainUnavailable``: no answer, or one that makes no sense; asking again may help.
- ``ChainError``: the wrong chain or no contract at the address; asking again won't help.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib.resources import files
from typing import Any, ClassVar, Literal, TypeVar, cast

import requests
from eth_utils import keccak
from eth_utils.abi import abi_to_signature
from hexbytes import HexBytes
from web3 import Web3
from web3.contract.contract import Contract
from web3.exceptions import BadFunctionCallOutput, ContractCustomError, ContractLogicError, Web3Exception, Web3RPCError
from web3.types import RPCEndpoint, RPCResponse

from rgym_exp.chain.coordinator import ChainError, ChainUnavailable
from rgym_exp.chain.rpc import REQUEST_TIMEOUT_SECONDS, BoundedProvider, NoBatches, connect

Answer = TypeVar("Answer")


class Reverted(Exception):
    """The contract refuses a call. ``name`` is the custom error's, or what the node said when it has none."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class RpcRefusal(ChainUnavailable):
    """The RPC answered with an error of its own (a bad nonce, too little money), not of the contract."""


ARTIFACTS = files("rgym_exp.chain").joinpath("abi")


@cache
def artifact(name: str = "SwarmCoordinator") -> dict[str, Any]:
    """A compiled contract, ``{abi, bytecode, compiler}``, as ``contracts/build.mjs`` wrote it."""
    text = ARTIFACTS.joinpath(f"{name}.json").read_text(encoding="utf-8")
    return cast("dict[str, Any]", json.loads(text))


@cache
def error_selectors(name: str = "SwarmCoordinator") -> dict[str, str]:
    """A contract's error names by their four-byte selector, ``0x`` + 8 hex digits."""
    errors = [entry for entry in artifact(name)["abi"] if entry["type"] == "error"]
    return {"0x" + keccak(text=abi_to_signature(entry))[:4].hex(): entry["name"] for entry in errors}


class DeployedContract:
    """One of the swarm's contracts at one RPC. Nothing is asked before the first call, so that it can be made while the
    chain is away. Safe to use from several threads."""

    name: ClassVar[str]
    """Of the contract, and of its artifact."""
    setting: ClassVar[str]
    """Which key of the configuration names another address."""

    def __init__(
        self,
        rpc_url: str,
        address: str,
        *,
        chain_id: int | None = None,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        """``chain_id``: what the RPC must answer; None takes what it answers. Raises ChainError for a bad address."""
        self.rpc_url = rpc_url
        self.web3 = connect(rpc_url, timeout_seconds)
        if not Web3.is_address(address):
            raise ChainError(
                f"{address!r} isn't a contract address (0x and 40 hex digits). Check the network or invite."
            )
        self.address = Web3.to_checksum_address(address)
        self.contract: Contract = self.web3.eth.contract(address=self.address, abi=artifact(self.name)["abi"])
        self._expected_chain_id = chain_id
        self._chain_id: int | None = None
        self._takes_batches = True

    @property
    def chain_id(self) -> int:
        """The chain's id, asked once. Raises ChainUnavailable; ChainError when it isn't the expected one."""
        if self._chain_id is None:
            self._take_chain_id(int(self.ask(lambda: self.web3.eth.chain_id)))
        assert self._chain_id is not None
        return self._chain_id

    def _take_chain_id(self, answered: int) -> None:
        if self._expected_chain_id is not None and answered != self._expected_chain_id:
            raise ChainError(
                f"{self.rpc_url} serves chain {answered}, but the swarm lives on chain {self._expected_chain_id}. "
                "Check blockchain.rpc_url, or ask the host for a new invite."
            )
        self._chain_id = answered

    def read(self, function: str, *arguments: Any) -> Any:
        """The value of a view. Raises ChainUnavailable or ChainError."""
        self.chain_id  # noqa: B018  (a wrong chain is told as such, not as a missing contract)
        try:
            return self.ask(self.contract.functions[function](*arguments).call)
        except Reverted as refusal:
            raise ChainError(f"{function} of the contract {self.address} failed: {refusal.name}.") from refusal

    def read_together(self, *calls: tuple[str, tuple[Any, ...]]) -> list[Any]:
        """The values of views with one value each, in one request. Raises ChainUnavailable or ChainError."""
        try:
            return self.views_at("latest", *calls)
        except Reverted as refusal:
            names = ", ".join(name for name, _ in calls)
            raise ChainError(f"{names} of the contract {self.address} failed: {refusal.name}.") from refusal

    def views_at(self, block: int | Literal["latest"], *calls: tuple[str, tuple[Any, ...]]) -> list[Any]:
        """The values that views with one value each had at a block, in one request.

        Raises ChainUnavailable, ChainError, or Reverted for the first view that fails."""
        at = block if isinstance(block, str) else hex(block)
        questions = [
            ("eth_call", [{"to": self.address, "data": self.contract.encode_abi(name, arguments)}, at])
            for name, arguments in calls
        ]
        unknown = self._chain_id is None
        answers = self.ask_together(*([("eth_chainId", [])] if unknown else []), *questions)
        if unknown:
            self._take_chain_id(int(self.ask(lambda: result_of(answers.pop(0))), 16))
        return [
            self.ask(partial(self._decoded, name, answer)) for (name, _), answer in zip(calls, answers, strict=True)
        ]

    def ask_together(self, *questions: tuple[str, list[Any]]) -> list[RPCResponse]:
        """The RPC's answers to several (method, parameters), in one request, each for ``result_of``.

        Raises ChainUnavailable or ChainError; an error among the answers is for whoever looks at that one."""
        asked = [(RPCEndpoint(method), parameters) for method, parameters in questions]
        provider = cast(BoundedProvider, self.web3.provider)

        def ask() -> list[RPCResponse]:
            if self._takes_batches:
                try:
                    return provider.make_batch_request(asked)
                except NoBatches:
                    pass
            answers = [provider.make_request(*question) for question in asked]
            # Only now: a server in trouble may have refused the batch for another reason.
            self._takes_batches = self._takes_batches and any("error" in answer for answer in answers)
            return answers

        return self.ask(ask)

    def _decoded(self, function: str, answer: Any) -> Any:
        data = HexBytes(result_of(answer))
        if not data:
            raise BadFunctionCallOutput(f"{function} answers nothing")
        (output,) = self.contract.functions[function].abi["outputs"]
        (value,) = self.web3.codec.decode([output["type"]], data)
        return value

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Run any web3 call with its failures typed as above."""
        with self._failures_typed():
            return question()

    @contextmanager
    def _failures_typed(self) -> Iterator[None]:
        try:
            yield
        except ContractCustomError as error:
            raise Reverted(_error_name(error, self.name)) from error
        except ContractLogicError as error:
            raise Reverted(str(error.message or "reverted without a reason")) from error
        except BadFunctionCallOutput as error:
            raise ChainError(
                f"There is no {self.name} at {self.address} on the chain behind {self.rpc_url}. The chain may have "
                f"been made anew: ask the host for a new invite, or check {self.setting}."
            ) from error
        except Web3RPCError as error:
            raise RpcRefusal(f"{self.rpc_url} refuses: {_rpc_message(error)}") from error
        except requests.exceptions.RequestException as error:
            raise ChainUnavailable(
                f"The chain at {self.rpc_url} doesn't answer ({_short(error)}). Its host may be away or your network "
                "down; asked again shortly."
            ) from error
        except (Web3Exception, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            # A captive portal's page, a proxy's half an answer: web3 fails on those in many ways.
            raise ChainUnavailable(
                f"{self.rpc_url} gave an answer that isn't a chain's ({_short(error)}). Check the URL."
            ) from error


class SwarmContract(DeployedContract):
    """One SwarmCoordinator at one RPC."""

    name = "SwarmCoordinator"
    setting = "blockchain.contract_address"

    def round_and_stage(self) -> tuple[int, int]:
        # Two calls, though in one request: between them the round may move on, and then a stage of the old round would
        # be paired with the new one; stages are below stageCount in every round, and rewards of past rounds are taken.
        round, stage = self.read_together(("currentRound", ()), ("currentStage", ()))
        return int(round), int(stage)

    def bootnodes(self) -> list[str]:
        return list(self.read("getBootnodes"))

    def registered_to(self, peer_id: str) -> str | None:
        """The account that registered the peer; None when nobody has."""
        account = str(self.read("getEoa", [peer_id])[0])
        return None if int(account, 16) == 0 else account


def result_of(answer: Any) -> Any:
    """The result of one JSON-RPC answer. Raises web3's exceptions for an error in it, and ValueError for no answer."""
    if not isinstance(answer, dict):
        raise ValueError("it is no JSON-RPC answer")
    error = answer.get("error")
    if error is None:
        return answer["result"]
    message = str(error.get("message", "")) if isinstance(error, dict) else str(error)
    data = error.get("data") if isinstance(error, dict) else None
    if isinstance(data, str) and re.fullmatch(r"0x[0-9a-fA-F]{8,}", data):
        raise ContractCustomError(message, data=data)
    if "revert" in message.lower():
        raise ContractLogicError(message)
    raise Web3RPCError(message, rpc_response=cast(Any, answer))


def _error_name(error: ContractCustomError, name: str) -> str:
    data = str(error.data or error.message or "")
    return error_selectors(name).get(data[:10], f"an error unknown to us ({data[:10]})")


def _rpc_message(error: Web3RPCError) -> str:
    response = error.rpc_response
    if isinstance(response, dict) and isinstance(response.get("error"), dict):
        return str(response["error"].get("message", ""))[:300]
    return str(error)[:300]


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:160]

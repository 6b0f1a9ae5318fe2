"""The contract's events as typed values. What strangers wrote into them is bounded here, or dropped and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_abi.exceptions import DecodingError
from eth_utils import keccak
from eth_utils.address import to_checksum_address
from web3 import Web3

from rgym_exp.hub.peer_ids import is_peer_id

MAX_AMOUNT = 2**53 - 1
"""Sums stop here: the largest whole number that every reader of JSON keeps exactly."""
MAX_ROUND = 2**53 - 1


@cache
def reward_topic() -> str:
    """The first topic of ``RewardSubmitted(account, round, stage, reward, peerId)``."""
    return "0x" + keccak(text="RewardSubmitted(address,uint256,uint256,int256,string)").hex()


@cache
def winner_topic() -> str:
    """The first topic of ``WinnerSubmitted(account, peerId, round, winners)``."""
    return "0x" + keccak(text="WinnerSubmitted(address,string,uint256,string[])").hex()


@dataclass(frozen=True, kw_only=True)
class RewardEvent:
    """A peer has reported its reward of a round and stage; the contract takes that once."""

    block: int
    block_hash: str
    log_index: int
    """Its number in the block."""
    account: str
    peer_id: str
    round: int
    stage: int
    reward: int
    """Within plus or minus MAX_AMOUNT."""


@dataclass(frozen=True, kw_only=True)
class VoteEvent:
    """A peer has voted; each winner got one vote."""

    block: int
    block_hash: str
    log_index: int
    winners: tuple[str, ...]


ContractEvent = RewardEvent | VoteEvent


def _text(written: bytes) -> str:
    """Solidity strings may hold any bytes; what isn't ASCII is no peer id, and becomes none here."""
    return written.decode("ascii", "replace")


def read_events(web3: Web3, logs: Iterable[Mapping[str, Any]], dropped: Counter[str]) -> list[ContractEvent]:
    """The rewards and votes in ``logs``, as web3 formats them, in their order.

    Those that make no sense, or name impossible peers, are left out and counted in ``dropped`` by reason.
    """
    events: list[ContractEvent] = []
    for entry in logs:
        try:
            event = _event(web3, entry)
        except (DecodingError, ValueError, TypeError, KeyError, IndexError, OverflowError):
            dropped["not decodable"] += 1
            continue
        if isinstance(event, RewardEvent) and not is_peer_id(event.peer_id):
            dropped["impossible peer id"] += 1
        elif isinstance(event, RewardEvent) and event.round > MAX_ROUND:
            dropped["impossible round"] += 1
        elif event is not None:
            events.append(event)
    return events


def _event(web3: Web3, entry: Mapping[str, Any]) -> ContractEvent | None:
    topics = ["0x" + bytes(topic).hex() for topic in entry["topics"]]
    place: dict[str, Any] = {
        "block": int(entry["blockNumber"]),
        "block_hash": "0x" + bytes(entry["blockHash"]).hex(),
        "log_index": int(entry["logIndex"]),
    }
    if topics[0] == reward_topic():
        reward, peer_id = web3.codec.decode(["int256", "bytes"], bytes(entry["data"]))
        return RewardEvent(
            **place,
            account=to_checksum_address("0x" + topics[1][-40:]),
            peer_id=_text(peer_id),
            round=int(topics[2], 16),
            stage=int(topics[3], 16),
            reward=max(-MAX_AMOUNT, min(MAX_AMOUNT, reward)),
        )
    if topics[0] == winner_topic():
        _, winners = web3.codec.decode(["bytes", "bytes[]"], bytes(entry["data"]))
        return VoteEvent(**place, winners=tuple(filter(is_peer_id, map(_text, winners))))
    return None

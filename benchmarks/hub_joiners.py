"""The simulated joiners of ``benchmarks.hub``: what a node asks of its hub in a round, and its transactions."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from eth_account import Account
from eth_account.signers.local import LocalAccount

from benchmarks.hub_client import Connection, post_once
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.sending import RetryPolicy
from rgym_exp.config.invite import Invite

QUESTIONS = 4
WRITES = 2
"""A reward and a vote."""
GAS = 700_000
LONGEST_POLL_SECONDS = 20
LIKE_A_NODE = RetryPolicy()
"""A real node's waits: between looks for a transaction's block, and after failures."""


@dataclass(kw_only=True)
class Counts:
    """What all joiners met, by round where that matters."""

    heard: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    """By round, of each long poll: (the hub's time when its answer left, ours when it was here), epoch seconds."""
    plain_seconds: list[float] = field(default_factory=list)
    """From the question for the round to its answer, without a wait at the hub."""
    questions: Counter[int] = field(default_factory=Counter)
    scores: Counter[int] = field(default_factory=Counter)
    writes: Counter[int] = field(default_factory=Counter)
    """Transactions that the chain took (``raw``) or has in a block (``node``)."""
    question_seconds: list[float] = field(default_factory=list)
    answer_seconds: list[float] = field(default_factory=list)
    trouble: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Joiner:
    """One simulated node, and the transactions that it will send."""

    number: int
    address: str
    peer_id: str
    account: LocalAccount
    registration: dict[str, Any]
    """A transaction: ``{"raw", "hash", "nonce", "kind", "estimate"}``."""
    writes: list[tuple[dict[str, Any], dict[str, Any]]]
    """Reward and vote of round 0, 1, ...: sent in this order, since each has its nonce, and none before its round."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What one run is."""

    joiners: int
    rounds: int
    seconds: float
    writes: str
    pin: bool = True
    behind_one_address: int = 0
    """So many joiners are behind one address, as in one household or company; the others have an address each."""


def prepared(setting: Setting, invite: Invite) -> list[Joiner]:
    """Accounts, peers and signed transactions for rounds 0 to ``rounds`` + 3."""
    assert invite.rpc_url is not None and invite.coordinator_address is not None
    contract = SwarmContract(invite.rpc_url, invite.coordinator_address, chain_id=invite.chain_id)
    made = []
    for number in range(setting.joiners):
        account = Account.create()
        peer_id = f"Qm{number:044d}"
        other = f"Qm{(number + 1) % setting.joiners:044d}"
        nonces = iter(range(1_000_000))
        register = _signed(contract, account, next(nonces), "registerPeer", peer_id)
        writes = [
            (
                _signed(contract, account, next(nonces), "submitReward", round, 0, 5, peer_id),
                _signed(contract, account, next(nonces), "submitWinners", round, [other], peer_id),
            )
            for round in range(setting.rounds + 4)
        ]
        place = max(0, number - setting.behind_one_address + 1)
        address = f"127.0.{1 + place // 250}.{1 + place % 250}"
        made.append(
            Joiner(
                number=number,
                address=address,
                peer_id=peer_id,
                account=account,
                registration=register,
                writes=writes,
            )
        )
    return made


def _signed(contract: SwarmContract, account: LocalAccount, nonce: int, name: str, *arguments: Any) -> dict[str, Any]:
    data = contract.contract.encode_abi(name, arguments)
    signed = account.sign_transaction(
        {
            "to": contract.address,
            "data": data,
            "gas": GAS,
            "nonce": nonce,
            "chainId": contract.chain_id,
            "value": 0,
            "maxFeePerGas": 0,
            "maxPriorityFeePerGas": 0,
        }
    )
    estimate = {"from": account.address, "to": contract.address, "data": data}
    return {
        "raw": "0x" + signed.raw_transaction.hex().removeprefix("0x"),
        "hash": signed.hash.to_0x_hex(),
        "nonce": nonce,
        "kind": name,
        "estimate": estimate,
    }


async def register(joiners: list[Joiner], invite: Invite, say: Callable[[str], None]) -> None:
    """Every peer is registered before anything is measured."""
    host, port = place_of(invite)
    refused: Counter[str] = Counter()
    for start in range(0, len(joiners), 50):
        answers = await asyncio.gather(
            *(
                post_once(
                    host, port, joiner.address, "/rpc", _call(1, "eth_sendRawTransaction", joiner.registration["raw"])
                )
                for joiner in joiners[start : start + 50]
            )
        )
        refused.update(str(answer["error"]) for _, answer in answers if "error" in answer)
    if refused:
        raise RuntimeError(f"registrations were refused: {refused.most_common(2)}")
    await asyncio.sleep(6.0)  # The chain goes back to a block for each transaction.
    say(f"{len(joiners)} peers are registered.")


async def join(joiner: Joiner, invite: Invite, setting: Setting, counts: Counts, stop: asyncio.Event) -> None:
    """A joiner's life: one round after the other."""
    host, port = place_of(invite)
    rounds, looks, chain, judge = connections = [Connection(host, port, joiner.address) for _ in range(4)]
    outbox = Outbox(joiner, chain, counts)
    at_work: set[asyncio.Task[None]] = set()
    last = -1
    chance = random.Random(joiner.number)
    try:
        while not stop.is_set():
            try:
                _, told = await rounds.get(f"/round?after={last}&wait={LONGEST_POLL_SECONDS}")
            except (OSError, EOFError, ValueError) as error:
                counts.trouble[f"round: {type(error).__name__}"] += 1
                await asyncio.sleep(1.0)
                continue
            if told["round"] <= last:
                continue
            last = told["round"]
            counts.heard[last].append((told["time"], time.time()))
            task = asyncio.create_task(_play(joiner, last, outbox, looks, judge, setting, counts, chance))
            at_work.add(task)
            task.add_done_callback(at_work.discard)
        if at_work:
            await asyncio.wait(at_work)
    finally:
        for task in at_work:
            task.cancel()
        for connection in connections:
            connection.close()


async def _play(
    joiner: Joiner,
    round: int,
    outbox: Outbox,
    looks: Connection,
    judge: Connection,
    setting: Setting,
    counts: Counts,
    chance: random.Random,
) -> None:
    """What a node asks of its hub in one round, spread as a round's work spreads it."""
    try:
        began = time.monotonic()
        asking = {"user_id": joiner.peer_id, "round_number": round, "model_name": "m", "count": QUESTIONS}
        status, told = await judge.post("/request-questions/", asking)
        counts.question_seconds.append(time.monotonic() - began)
        if status != 200:
            counts.trouble[f"questions: {status}"] += 1
        questions = told.get("questions", [])
        counts.questions[round] += len(questions)
        await asyncio.sleep(chance.uniform(0.1, 0.4) * setting.seconds)
        began = time.monotonic()
        await looks.get("/round")
        counts.plain_seconds.append(time.monotonic() - began)
        await asyncio.sleep(chance.uniform(0.1, 0.3) * setting.seconds)
        for _ in range(WRITES):
            done = await outbox.report(watch=setting.writes == "node")
            counts.writes[round] += done
        if questions:
            answers = [{"session_id": each["session_id"], "user_answer": "<answer>7</answer>"} for each in questions]
            began = time.monotonic()
            status, told = await judge.post("/submit-answers/", {"answers": answers})
            counts.answer_seconds.append(time.monotonic() - began)
            counts.scores[round] += sum("score" in each for each in told.get("scores", ()))
            if status != 200:
                counts.trouble[f"answers: {status}"] += 1
    except (OSError, EOFError, ValueError) as error:
        counts.trouble[f"{type(error).__name__}: {error}"[:80]] += 1


class Outbox:
    """One joiner's transactions, one after the other, as a node's outbox sends and watches them.

    The first of each kind asks for gas, number and fees. Later ones ask nothing before, as long as the last was found
    in its block (``rgym_exp.chain.last_sent``). Each leaves in one batch with the questions for its fate; those are put
    again while it is in no block, and it is sent again when the chain doesn't know it any more.
    """

    def __init__(self, joiner: Joiner, chain: Connection, counts: Counts) -> None:
        self._joiner = joiner
        self._chain = chain
        self._counts = counts
        self._unsent = (write for pair in joiner.writes for write in pair)
        self._one_at_a_time = asyncio.Lock()
        self._asked: set[str] = set()
        self._knows_number = False

    async def report(self, *, watch: bool) -> bool:
        """The next write, in the order of their numbers; whether it was done in a block, or taken if not watched."""
        async with self._one_at_a_time:
            write = next(self._unsent, None)
            if write is None:
                return self._trouble("transaction: more rounds than were prepared for")
            return await (self._write(write) if watch else self._send(write))

    async def _send(self, write: dict[str, Any]) -> bool:
        _, told = await self._chain.post("/rpc", _call(1, "eth_sendRawTransaction", write["raw"]))
        return "error" not in told or self._trouble(f"transaction: {told['error']}")

    async def _write(self, write: dict[str, Any]) -> bool:
        failures, looks, receipt, is_sent = 0, 0, None, False
        while receipt is None:
            try:
                receipt, is_sent = await (self._fate(write, []) if is_sent else self._sent(write, failures > 0))
            except (OSError, EOFError, ValueError) as error:
                self._trouble(f"sent again after {type(error).__name__}: {error}")
                is_sent = False
            if receipt is None and is_sent:
                pause = LIKE_A_NODE.look_seconds * 2.0**looks
                looks += 1
                await asyncio.sleep(min(pause, LIKE_A_NODE.longest_look_seconds))
            elif receipt is None:
                failures += 1
                await asyncio.sleep(LIKE_A_NODE.wait(failures))
        self._knows_number = receipt["status"] == "0x1"
        return self._knows_number or self._trouble("transaction: reverted")

    async def _sent(self, write: dict[str, Any], again: bool) -> tuple[dict[str, Any] | None, bool]:
        """Send it; its receipt, if it has one, and whether the chain knows it. Raises OSError, EOFError, ValueError."""
        if not again and (write["kind"] not in self._asked or not self._knows_number):
            asked = [
                _call(0, "eth_estimateGas", write["estimate"], "latest"),
                _call(1, "eth_getTransactionCount", self._joiner.account.address, "pending"),
                _call(2, "eth_getBlockByNumber", "latest", False),
                _call(3, "eth_gasPrice"),
                _call(4, "eth_maxPriorityFeePerGas"),
            ]
            _, told = await self._chain.post("/rpc", asked)
            if errors := [each["error"] for each in told[:4] if "error" in each]:
                raise ValueError(f"estimate: {errors[0]}")
            self._asked.add(write["kind"])
        self._knows_number = False
        return await self._fate(write, [_call(9, "eth_sendRawTransaction", write["raw"])])

    async def _fate(self, write: dict[str, Any], before: list[dict[str, Any]]) -> tuple[dict[str, Any] | None, bool]:
        asked = [
            *before,
            _call(0, "eth_getTransactionCount", self._joiner.account.address, "latest"),
            _call(1, "eth_getTransactionReceipt", write["hash"]),
        ]
        if not before:
            asked.append(_call(2, "eth_getTransactionCount", self._joiner.account.address, "pending"))
            asked.append(_call(3, "eth_getTransactionByHash", write["hash"]))
        _, told = await self._chain.post("/rpc", asked)
        refusals = [str(each["error"]) for each in told if "error" in each]
        if any("already" not in each and "nonce too low" not in each for each in refusals):
            raise ValueError(refusals[0])
        results = {each["id"]: each.get("result") for each in told}
        return results[1], bool(before) or results[3] is not None

    def _trouble(self, what: str) -> bool:
        self._counts.trouble[what[:80]] += 1
        return False


def _call(number: int, method: str, *parameters: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(parameters)}


def place_of(invite: Invite) -> tuple[str, int]:
    """Host and port of the hub's API."""
    parts = urlsplit(invite.hub_url or "")
    assert parts.hostname is not None and parts.port is not None
    return parts.hostname, parts.port

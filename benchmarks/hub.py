"""What a hub costs: simulated joiners at short rounds against a real hub that has one core to itself.

    python -m benchmarks.hub [--joiners 1000] [--rounds 6] [--seconds 9] [--writes node] [--json FILE]

The hub is the real one, with its chain (anvil), its bootnode (p2pd) and its judge's scoring worker, all on one core;
the joiners are tasks in this process on the others, each at a loopback address of its own (127.0.x.y), since the hub
limits by address. Every joiner waits for the round by long poll, asks for its four questions as soon as it moves, looks
at the round once more in between, hands in four answers, and reports a reward and a vote that were signed before the
start: ``--writes raw`` sends those two transactions alone, ``--writes node`` also asks what a node asks for each of
them (gas, nonce, fees; then the receipt).

Rounds are moved by the hub's keeper, each when one real peer of the DHT has announced. What a thousand peers' records
would cost the DHT and the keeper is not in here.

Latency of a long poll is counted from the first answer of that round that left the hub, by the hub's clock, which is
this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import uvloop
from eth_account import Account
from eth_account.signers.local import LocalAccount

from benchmarks.hub_client import Connection, post_once
from rgym_exp.base.ports import free_port
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.config.invite import Invite, read_invite
from rgym_exp.swarm.dht_records import DhtRecords
from rgym_exp.swarm.identity import load_or_create_identity
from rgym_exp.types import Announcement

QUESTIONS = 4
GAS = 700_000
LONGEST_POLL_SECONDS = 20
RECEIPT_SECONDS = 30.0
LAST_SECONDS = 60.0
"""For what the last round's joiners have under way."""


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
class Figures:
    """What came out."""

    joiners: int
    rounds: int
    round_seconds: float
    """As measured, mean."""
    writes: str
    core_percent: float
    """Processor time of the hub and all that it has started in one round, in percent of one core for ``seconds``. On a
    machine that does other things as well rounds are longer, and this is what tells."""
    percent_by_process: Mapping[str, float]
    long_poll_p50_ms: float
    long_poll_p95_ms: float
    plain_p50_ms: float
    plain_p95_ms: float
    questions: int
    questions_wanted: int
    question_p95_ms: float
    scores: int
    answer_p95_ms: float
    writes_done: int
    writes_wanted: int
    trouble: Mapping[str, int]
    hub_memory_mb: float


@dataclass(frozen=True, kw_only=True)
class Joiner:
    """One simulated node, and the transactions that it will send."""

    number: int
    address: str
    peer_id: str
    account: LocalAccount
    registration: dict[str, Any]
    """A transaction: ``{"raw", "hash", "estimate"}``."""
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


async def run(setting: Setting, folder: Path, say: Callable[[str], None] = print) -> Figures:
    """One run, with a hub of its own in ``folder``."""
    async with AsyncExitStack() as stack:
        hub, invite = await stack.enter_async_context(_hub(setting, folder))
        say(f"The hub is up ({invite.hub_url}). Signing {2 * setting.rounds + 7} transactions for each joiner.")
        joiners = await asyncio.to_thread(_joiners, setting, invite)
        await _register(joiners, invite, say)
        counts = Counts()
        stop = asyncio.Event()
        announcing = asyncio.create_task(_announce(invite, folder))
        tasks = [asyncio.create_task(_join(joiner, invite, setting, counts, stop)) for joiner in joiners]
        try:
            first = await _measured_from(counts, setting, announcing)
            before, began = _processor_seconds(hub), time.monotonic()
            say(f"Measuring {setting.rounds} rounds from round {first} on.")
            while len(counts.heard.get(first + setting.rounds, ())) == 0:
                _raise_if_done(announcing)
                await asyncio.sleep(0.02)
            elapsed = time.monotonic() - began
            after, memory = _processor_seconds(hub), _memory_mb(hub)
            # What belongs to the last measured round may still be under way.
            stop.set()
            await asyncio.wait(tasks, timeout=LAST_SECONDS)
        finally:
            for task in [announcing, *tasks]:
                task.cancel()
            await asyncio.gather(announcing, *tasks, return_exceptions=True)
        wanted = setting.rounds * setting.seconds
        used = {name: 100 * (after[name] - before.get(name, 0.0)) / wanted for name in after}
        return _figures(setting, counts, first, elapsed, used, memory)


@asynccontextmanager
async def _hub(setting: Setting, folder: Path) -> Any:
    """A hub in a process of its own, on core 0 if that can be had for it alone."""
    cores = sorted(os.sched_getaffinity(0))
    pin = setting.pin and len(cores) > 1
    command = [
        *(sys.executable, "-m", "rgym_exp.cli", "hub", "--home", str(folder / "host")),
        *("--port", str(free_port()), "--p2p-port", str(free_port()), "--no-market"),
        *("--round-minimum", str(setting.seconds), "--stop-with-parent"),
    ]
    with (folder / "hub.txt").open("w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores[:1])) if pin else None,
        )
    if pin:
        os.sched_setaffinity(0, cores[1:])
    try:
        invite = None
        for _ in range(600):
            found = re.search(r"--join (rlswarm1:\S+)", (folder / "hub.txt").read_text())
            if found:
                invite = read_invite(found.group(1))
                break
            if process.poll() is not None:
                raise RuntimeError((folder / "hub.txt").read_text())
            await asyncio.sleep(0.1)
        if invite is None:
            raise RuntimeError("the hub didn't start within a minute")
        yield psutil.Process(process.pid), invite
    finally:
        os.sched_setaffinity(0, cores)
        assert process.stdin is not None
        process.stdin.close()
        process.terminate()
        await asyncio.to_thread(process.wait, 30)


def _joiners(setting: Setting, invite: Invite) -> list[Joiner]:
    """Accounts, peers and signed transactions for rounds 0 to ``rounds`` + 1."""
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
            for round in range(setting.rounds + 3)
        ]
        address = f"127.0.{1 + number // 250}.{1 + number % 250}"
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
        "estimate": estimate,
    }


async def _register(joiners: list[Joiner], invite: Invite, say: Callable[[str], None]) -> None:
    """Every peer is registered before anything is measured."""
    host, port = _place(invite)
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


async def _announce(invite: Invite, folder: Path) -> None:
    """One real peer of the swarm, which announces in every round, so that the keeper moves on."""
    identity = load_or_create_identity(folder / "announcer.pem")
    records = await DhtRecords.create(identity=identity, swarm_id=invite.swarm_id, bootnodes=invite.bootnodes)
    host, port = _place(invite)
    connection = Connection(host, port, "127.0.0.1")
    last = -1
    try:
        while True:
            _, told = await connection.get(f"/round?after={last}&wait={LONGEST_POLL_SECONDS}")
            if told["round"] > last:
                last = told["round"]
                records.set_round(last)
                await records.publish(_announcement(invite, identity.peer_id, last))
    finally:
        connection.close()
        await records.close()


def _announcement(invite: Invite, peer_id: str, round: int) -> Announcement:
    return Announcement(
        swarm_id=invite.swarm_id,
        round=round,
        listed=round,
        peer_id=peer_id,
        share_digest="0" * 64,
        share_size=100,
        group_count=4,
        tasks_digest="ab" * 32,
        model_name="model",
        account="",
        mean_reward=0.25,
        time=time.time(),
    )


async def _measured_from(counts: Counts, setting: Setting, announcing: asyncio.Task[None]) -> int:
    """The first round at whose beginning all joiners were there."""
    while True:
        _raise_if_done(announcing)
        # Round 0 is where they arrive; 1 is the first that begins before their eyes.
        for round in sorted(counts.heard):
            if round >= 1 and len(counts.heard[round]) >= 0.99 * setting.joiners:
                return round
        await asyncio.sleep(0.02)


def _raise_if_done(task: asyncio.Task[None]) -> None:
    if task.done():
        task.result()
        raise RuntimeError("the announcing peer has ended")


async def _join(joiner: Joiner, invite: Invite, setting: Setting, counts: Counts, stop: asyncio.Event) -> None:
    """A joiner's life: one round after the other."""
    host, port = _place(invite)
    rounds, chain, judge = (Connection(host, port, joiner.address) for _ in range(3))
    at_work: set[asyncio.Task[None]] = set()
    last = -1
    unsent = iter(joiner.writes)
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
            task = asyncio.create_task(_play(joiner, last, next(unsent, ()), chain, judge, setting, counts, chance))
            at_work.add(task)
            task.add_done_callback(at_work.discard)
        if at_work:
            await asyncio.wait(at_work)
    finally:
        for task in at_work:
            task.cancel()
        rounds.close()
        chain.close()
        judge.close()


async def _play(
    joiner: Joiner,
    round: int,
    writes: tuple[dict[str, Any], ...],
    chain: Connection,
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
        await chain.get("/round")
        counts.plain_seconds.append(time.monotonic() - began)
        await asyncio.sleep(chance.uniform(0.1, 0.3) * setting.seconds)
        for write in writes:
            taken = await _write(joiner, write, chain, setting, counts)
            counts.writes[round] += taken
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


async def _write(joiner: Joiner, write: dict[str, Any], chain: Connection, setting: Setting, counts: Counts) -> bool:
    """Send one transaction; whether it was taken (raw) or is in a block (node)."""
    if setting.writes == "node":
        asked = [
            _call(0, "eth_estimateGas", write["estimate"]),
            _call(1, "eth_getTransactionCount", joiner.account.address, "pending"),
            _call(2, "eth_getBlockByNumber", "latest", False),
            _call(3, "eth_gasPrice"),
            _call(4, "eth_maxPriorityFeePerGas"),
        ]
        _, told = await chain.post("/rpc", asked)
        if any("error" in each for each in told[:4]):
            counts.trouble[f"estimate: {next(each['error'] for each in told if 'error' in each)}"[:80]] += 1
    _, told = await chain.post("/rpc", _call(1, "eth_sendRawTransaction", write["raw"]))
    if "error" in told:
        counts.trouble[f"transaction: {told['error']}"[:80]] += 1
        return False
    if setting.writes == "raw":
        return True
    deadline, pause = time.monotonic() + RECEIPT_SECONDS, 0.1
    while time.monotonic() < deadline:
        asked = [
            _call(0, "eth_getTransactionCount", joiner.account.address, "latest"),
            _call(1, "eth_getTransactionReceipt", write["hash"]),
        ]
        _, told = await chain.post("/rpc", asked)
        if receipt := told[1].get("result"):
            if receipt["status"] != "0x1":
                counts.trouble["transaction: reverted"] += 1
            return bool(receipt["status"] == "0x1")
        await asyncio.sleep(pause)
        pause = min(2 * pause, 2.0)
    counts.trouble["transaction: in no block in time"] += 1
    return False


def _call(number: int, method: str, *parameters: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(parameters)}


def _place(invite: Invite) -> tuple[str, int]:
    parts = urlsplit(invite.hub_url or "")
    assert parts.hostname is not None and parts.port is not None
    return parts.hostname, parts.port


def _processor_seconds(hub: psutil.Process) -> dict[str, float]:
    """Seconds of processor time so far, by what it is: the hub itself and what it has started."""
    used: dict[str, float] = defaultdict(float)
    for process in [hub, *hub.children(recursive=True)]:
        with suppress(psutil.Error):
            times = process.cpu_times()
            used[_name(hub, process)] += times.user + times.system
    return dict(used)


def _name(hub: psutil.Process, process: psutil.Process) -> str:
    if process.pid == hub.pid:
        return "hub"
    return "scoring worker" if any("scoring_worker" in part for part in process.cmdline()) else process.name()


def _memory_mb(hub: psutil.Process) -> float:
    return float(hub.memory_info().rss) / 2**20


def _figures(
    setting: Setting, counts: Counts, first: int, elapsed: float, used: Mapping[str, float], memory: float
) -> Figures:
    measured = range(first, first + setting.rounds)
    heard = [
        here - min(left for left, _ in counts.heard[round]) for round in measured for _, here in counts.heard[round]
    ]
    everyone = setting.joiners * setting.rounds
    return Figures(
        joiners=setting.joiners,
        rounds=setting.rounds,
        round_seconds=round(elapsed / setting.rounds, 2),
        writes=setting.writes,
        core_percent=round(sum(used.values()), 1),
        percent_by_process={name: round(percent, 1) for name, percent in used.items()},
        long_poll_p50_ms=_ms(heard, 0.5),
        long_poll_p95_ms=_ms(heard, 0.95),
        plain_p50_ms=_ms(counts.plain_seconds, 0.5),
        plain_p95_ms=_ms(counts.plain_seconds, 0.95),
        questions=sum(counts.questions[round] for round in measured),
        questions_wanted=QUESTIONS * everyone,
        question_p95_ms=_ms(counts.question_seconds, 0.95),
        scores=sum(counts.scores[round] for round in measured),
        answer_p95_ms=_ms(counts.answer_seconds, 0.95),
        writes_done=sum(counts.writes[round] for round in measured),
        writes_wanted=2 * everyone,
        trouble=dict(counts.trouble),
        hub_memory_mb=round(memory, 1),
    )


def _ms(seconds: list[float], part: float) -> float:
    """The quantile in milliseconds; NaN of nothing."""
    if not seconds:
        return math.nan
    return round(1000 * sorted(seconds)[min(len(seconds) - 1, int(part * len(seconds)))], 1)


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--joiners", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=6, help="measured ones (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=9.0, help="length of a round (default: %(default)g)")
    parser.add_argument("--writes", choices=("raw", "node"), default="node")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    setting = Setting(joiners=given.joiners, rounds=given.rounds, seconds=given.seconds, writes=given.writes)
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(run(setting, Path(folder)))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    for name, value in asdict(figures).items():
        print(f"{name:>20}  {value}")
    if given.json:
        given.json.write_text(json.dumps(asdict(figures), indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What a hub costs: simulated joiners at short rounds against a real hub that has one core to itself.

    python -m benchmarks.hub [--joiners 1000] [--rounds 6] [--seconds 9] [--writes node] [--json FILE]

The hub is the real one, with its chain (anvil), its bootnode (p2pd) and its judge's scoring worker, all on one core;
the joiners are tasks in this process on the others, each at a loopback address of its own (127.0.x.y), since the hub
limits by address. Every joiner waits for the round by long poll, asks for its four questions as soon as it moves, looks
at the round once more in between, hands in four answers, and reports a reward and a vote that were signed before the
start: ``--writes raw`` sends those two transactions alone, ``--writes node`` sends them as a node's outbox does, one
after the other: the first of each kind, which is before what is measured, asks for gas, number and fees; each leaves in
one batch with the questions for its fate; what is in no block is looked for again, and what is lost is sent again.

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
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks.hub_client import Connection
from benchmarks.hub_joiners import (
    LONGEST_POLL_SECONDS,
    QUESTIONS,
    Counts,
    Setting,
    join,
    place_of,
    prepared,
    register,
)
from rgym_exp.base.ports import free_port
from rgym_exp.config.invite import Invite, read_invite
from rgym_exp.swarm.dht_records import DhtRecords
from rgym_exp.swarm.identity import load_or_create_identity
from rgym_exp.types import Announcement

LAST_SECONDS = 60.0
"""For what the last round's joiners have under way."""


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


async def run(setting: Setting, folder: Path, say: Callable[[str], None] = print) -> Figures:
    """One run, with a hub of its own in ``folder``."""
    async with AsyncExitStack() as stack:
        hub, invite = await stack.enter_async_context(_hub(setting, folder))
        say(f"The hub is up ({invite.hub_url}). Signing {2 * setting.rounds + 9} transactions for each joiner.")
        joiners = await asyncio.to_thread(prepared, setting, invite)
        await register(joiners, invite, say)
        counts = Counts()
        stop = asyncio.Event()
        announcing = asyncio.create_task(_announce(invite, folder))
        tasks = [asyncio.create_task(join(joiner, invite, setting, counts, stop)) for joiner in joiners]
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


async def _announce(invite: Invite, folder: Path) -> None:
    """One real peer of the swarm, which announces in every round, so that the keeper moves on."""
    identity = load_or_create_identity(folder / "announcer.pem")
    records = await DhtRecords.create(identity=identity, swarm_id=invite.swarm_id, bootnodes=invite.bootnodes)
    host, port = place_of(invite)
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
    """The first round at whose beginning all joiners were there and had reported once."""
    while True:
        _raise_if_done(announcing)
        # Round 0 is where they arrive; in 1 some still send what they first report.
        for round in sorted(counts.heard):
            if round >= 2 and len(counts.heard[round]) >= 0.99 * setting.joiners:
                return round
        await asyncio.sleep(0.02)


def _raise_if_done(task: asyncio.Task[None]) -> None:
    if task.done():
        task.result()
        raise RuntimeError("the announcing peer has ended")


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

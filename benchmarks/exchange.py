"""How long a round's exchange of shares takes, and what it costs a peer, from 2 to 32 real peers on this machine.

    python -m benchmarks.exchange [--peers 2 4 8 16 32] [--rounds 6] [--json FILE]

Every peer is a ``LibP2PExchange`` with its own p2pd daemon on loopback. In each round all of them publish a share of
4 groups x 8 completions x 1 KB at the same moment, which is the hardest case, and then gather. Two cases are timed,
from the publishing of a peer to the moment it holds what it asked for: 8 shares of others (or as many as there are),
and the shares of everybody. A share that should have come and did not counts as lost.

Bytes are a quarter of what the daemons read and wrote, TLS and DHT included: a daemon handles each byte twice (between
the network and its own node), and what one peer sends another receives. From /proc; elsewhere the column is 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing as mp
import os
import platform
import random
import statistics
import string
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import psutil

from rgym_exp.types import Completion, Share, SharedGroup

SWARM_ID = "benchmark"
TASKS_DIGEST = "0" * 64
GROUPS, COMPLETIONS, CHARS = 4, 8, 1024
PEERS_PER_PROCESS = 8
ENOUGH_SHARES = 8
WARM_UP_ROUNDS = 2
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """The figures of one case."""

    peers: int
    wanted: int
    """Shares that each peer asked for."""
    median_seconds: float
    p95_seconds: float
    max_seconds: float
    lost_shares: int
    bytes_each_way: float
    """Network bytes into (and as many out of) one peer in one round, mean over peers and rounds; 0: not countable."""
    cpu_seconds: float
    """CPU time of one peer in one round, its daemon and its share of the Python process."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one worker process runs."""

    folder: Path
    first_peer: int
    peer_count: int
    bootnodes: list[str]
    rounds: int
    wanted: list[int]
    """One case after the other: shares to ask for."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a worker's daemons and its Python used up to a moment."""

    daemon_bytes: int
    """Read and written by the daemons, in all."""
    cpu_seconds: float


def main() -> None:
    """Parse the command line, measure, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description="Time the exchange of shares among real peers on this machine.")
    parser.add_argument("--peers", type=int, nargs="+", default=[2, 4, 8, 16, 32], help="swarm sizes to measure")
    parser.add_argument("--rounds", type=int, default=6, help="rounds measured per case, after the warm-up")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()} {platform.machine()}")
    print(f"{'peers':>5} {'wanted':>6} {'median s':>9} {'p95 s':>7} {'max s':>7} {'lost':>5} ", end="")
    print(f"{'KB each way':>11} {'CPU ms':>7}")
    rows: list[Row] = []
    for peers in arguments.peers:
        for row in measure(peers, arguments.rounds):
            rows.append(row)
            print(
                f"{row.peers:>5} {row.wanted:>6} {row.median_seconds:>9.3f} {row.p95_seconds:>7.3f} "
                f"{row.max_seconds:>7.3f} {row.lost_shares:>5} "
                f"{row.bytes_each_way / 1e3:>11.0f} {1e3 * row.cpu_seconds:>7.0f}",
                flush=True,
            )
    if arguments.json is not None:
        setting = {"cores": os.cpu_count(), "load_at_end": os.getloadavg()[0], "rounds": arguments.rounds}
        arguments.json.write_text(json.dumps({"setting": setting, "rows": [asdict(row) for row in rows]}, indent=2))


def measure(peers: int, rounds: int) -> list[Row]:
    """Start a bootnode and ``peers`` peers, and time both cases."""
    cases = sorted({min(ENOUGH_SHARES, peers - 1), peers - 1})
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_with_bootnode(Path(folder), peers, rounds, cases))


async def _with_bootnode(folder: Path, peers: int, rounds: int, cases: list[int]) -> list[Row]:
    from rgym_exp.swarm.dht_records import DhtRecords
    from rgym_exp.swarm.identity import load_or_create_identity

    identity = load_or_create_identity(folder / "hub.pem")
    records = await DhtRecords.create(identity=identity, swarm_id=SWARM_ID)
    try:
        jobs = [
            Job(
                folder=folder,
                first_peer=first,
                peer_count=min(PEERS_PER_PROCESS, peers - first),
                bootnodes=records.visible_maddrs(),
                rounds=rounds,
                wanted=cases,
            )
            for first in range(0, peers, PEERS_PER_PROCESS)
        ]
        results = await asyncio.to_thread(_run_workers, jobs, peers)
    finally:
        await records.close()
    return [_row(peers, wanted, rounds, [result[case] for result in results]) for case, wanted in enumerate(cases)]


def _row(peers: int, wanted: int, rounds: int, workers: list[tuple[list[tuple[float, int]], Usage, Usage]]) -> Row:
    timings = [timing for worker, _, _ in workers for timing in worker]
    seconds = sorted(taken for taken, _ in timings)
    peer_rounds = peers * rounds

    def used(name: str) -> float:
        return sum(getattr(after, name) - getattr(before, name) for _, before, after in workers) / peer_rounds

    return Row(
        peers=peers,
        wanted=wanted,
        median_seconds=statistics.median(seconds),
        p95_seconds=seconds[int(0.95 * (len(seconds) - 1))],
        max_seconds=seconds[-1],
        lost_shares=sum(wanted - received for _, received in timings),
        bytes_each_way=used("daemon_bytes") / 4,
        cpu_seconds=used("cpu_seconds"),
    )


def _run_workers(jobs: list[Job], peers: int) -> list[list[tuple[list[tuple[float, int]], Usage, Usage]]]:
    context = mp.get_context("spawn")
    barrier = context.Barrier(peers)
    pipes, processes = [], []
    for job in jobs:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_worker, args=(job, barrier, theirs))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        return [pipe.recv() for pipe in pipes]
    finally:
        for process in processes:
            process.join(TIMEOUT_SECONDS)
            process.kill()


def _worker(job: Job, barrier: Barrier, pipe: Connection) -> None:
    """Run this process's peers, one thread each; send a list with (timings, usage before, usage after) per case."""
    from rgym_exp.swarm.libp2p import LibP2PExchange

    exchanges = [
        LibP2PExchange(
            identity_path=job.folder / f"peer-{index}.pem",
            swarm_id=SWARM_ID,
            tasks_digest=TASKS_DIGEST,
            max_slots=GROUPS,
            num_generations=COMPLETIONS,
            bootnodes=job.bootnodes,
        )
        for index in range(job.first_peer, job.first_peer + job.peer_count)
    ]
    results: list[tuple[list[tuple[float, int]], Usage, Usage]] = []
    local = threading.Barrier(job.peer_count)
    try:
        round_number = 0
        for wanted in job.wanted:
            timings: list[tuple[float, int]] = []
            usage: dict[str, Usage] = {}
            threads = [
                threading.Thread(
                    target=_play,
                    args=(exchange, wanted, round_number, job.rounds, barrier, local, timings, usage),
                )
                for exchange in exchanges
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            results.append((timings, usage["before"], usage["after"]))
            round_number += WARM_UP_ROUNDS + job.rounds
        pipe.send(results)
    finally:
        for exchange in exchanges:
            exchange.close()


def _play(  # type: ignore[no-untyped-def]  # the exchange's class is imported in the worker only
    exchange,
    wanted: int,
    first_round: int,
    rounds: int,
    barrier: Barrier,
    local: threading.Barrier,
    timings: list[tuple[float, int]],
    usage: dict[str, Usage],
) -> None:
    is_speaker = False
    for index in range(WARM_UP_ROUNDS + rounds):
        number = first_round + index
        share = make_share(exchange.peer_id, number)
        barrier.wait(TIMEOUT_SECONDS)
        if index == WARM_UP_ROUNDS:
            is_speaker = local.wait(TIMEOUT_SECONDS) == 0
            if is_speaker:
                usage["before"] = _usage()
            barrier.wait(TIMEOUT_SECONDS)
        gathering = exchange.start_gathering(number)
        begin = time.perf_counter()
        exchange.publish(share, swarm_round=number, model_name="benchmark/none", account="", mean_reward=0.5)
        received = gathering.close(timeout_seconds=TIMEOUT_SECONDS, enough_shares=wanted)
        if index >= WARM_UP_ROUNDS:
            timings.append((time.perf_counter() - begin, min(wanted, len(received))))
    barrier.wait(TIMEOUT_SECONDS)
    if is_speaker:
        usage["after"] = _usage()
    local.wait(TIMEOUT_SECONDS)


def make_share(peer_id: str, round_number: int) -> Share:
    """A share of text that hardly compresses: letters and digits at random."""
    rng = random.Random(f"{peer_id} {round_number}")
    alphabet = string.ascii_letters + string.digits
    return Share(
        swarm_id=SWARM_ID,
        round=round_number,
        peer_id=peer_id,
        tasks_digest=TASKS_DIGEST,
        groups=tuple(
            SharedGroup(
                slot=slot,
                completions=tuple(
                    Completion(text="".join(rng.choices(alphabet, k=CHARS)), ended=True, mean_logprob=-1.0)
                    for _ in range(COMPLETIONS)
                ),
            )
            for slot in range(GROUPS)
        ),
    )


def _usage() -> Usage:
    process = psutil.Process()
    daemons = [child for child in process.children() if "p2pd" in child.name()]
    times = [item.cpu_times() for item in [process, *daemons]]
    counters = [daemon.io_counters() for daemon in daemons] if hasattr(process, "io_counters") else []
    return Usage(
        daemon_bytes=sum(getattr(item, "read_chars", 0) + getattr(item, "write_chars", 0) for item in counters),
        cpu_seconds=sum(item.user + item.system for item in times),
    )


if __name__ == "__main__":
    main()

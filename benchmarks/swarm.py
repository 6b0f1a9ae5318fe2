"""The pace of a swarm of unequal peers, in virtual time: how many rounds, who is heard, what strangers can do to it.

    python -m benchmarks.swarm [--peers 8 64 512] [--spread 4] [--minutes 60] [--seed 1] [--json FILE]
    python -m benchmarks.swarm --rule former                 # as version 0.1.0 decided, to compare with
    python -m benchmarks.swarm --peers 64 --dead 10          # a peer dies at minute 10 without a word
    python -m benchmarks.swarm --peers 8 --newcomer 5        # from minute 5 one more, five times slower than the median
    python -m benchmarks.swarm --peers 150 --arrive 5 --hub-restart 5
    python -m benchmarks.swarm --peers 64 --strangers instant --strangers-count 64

With the rule in use keeper, peer activity, reading of levels and shards, gathering, known peers and selection are the
real ones; generating (6 s for the median peer), training (3 s), the DHT and fetching are waits, and the clock jumps
over them. A peer's speed is drawn once, log-normal, with the given ratio between the 95th and the 5th percentile; each
piece of work varies by 10 %. A share counts as used when somebody trained on a group of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simulation.former_rule import FORMER
from simulation.virtual_rule import PRESENT
from simulation.virtual_strangers import STRANGERS
from simulation.virtual_swarm import SwarmOutcome, SwarmPlan, simulate

RULES = {"present": PRESENT, "former": FORMER}
COLUMNS = (
    ("peers", 5),
    ("rounds/h", 8),
    ("median s", 8),
    ("p95 s", 6),
    ("longest s", 9),
    ("steps/h", 7),
    ("unused", 6),
    ("never heard", 11),
    ("filled", 6),
    ("gather s", 8),
    ("reads/step", 10),
    ("hub reads/look", 14),
)


def main() -> None:
    """Simulate and print a line for each size of swarm."""
    arguments = _parser().parse_args()
    print("  ".join(f"{name:>{width}}" for name, width in COLUMNS))
    rows = []
    for peers in arguments.peers:
        began = time.monotonic()
        outcome = simulate(
            SwarmPlan(
                peers=peers,
                spread=arguments.spread,
                minutes=arguments.minutes,
                seed=arguments.seed,
                generate_seconds=arguments.generate,
                train_seconds=arguments.train,
                arrive_seconds=arguments.arrive,
                dead_at=arguments.dead,
                newcomer=arguments.newcomer,
                hub_restart_at=arguments.hub_restart,
                strangers=(arguments.strangers_count or peers) if arguments.strangers else 0,
            ),
            STRANGERS[arguments.strangers] if arguments.strangers else None,
            rule=RULES[arguments.rule],
        )
        figures = figures_of(outcome)
        print("  ".join(f"{figures[name]:>{width}}" for name, width in COLUMNS))
        print(*details_of(outcome), f"(simulated in {time.monotonic() - began:.0f} s)", sep="\n      ", flush=True)
        rows.append(
            {
                "plan": asdict(outcome.plan),
                "rule": arguments.rule,
                **figures,
                "uses_by_quarter": outcome.uses_by_quarter,
            }
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=2))


def figures_of(outcome: SwarmOutcome) -> dict[str, Any]:
    """The line of the table."""
    seconds = sorted(outcome.round_seconds) or [float("nan")]
    return {
        "peers": outcome.plan.peers,
        "rounds/h": round(outcome.rounds_per_hour),
        "median s": round(statistics.median(seconds), 1),
        "p95 s": round(seconds[int(0.95 * (len(seconds) - 1))], 1),
        "longest s": round(seconds[-1], 1),
        "steps/h": round(outcome.steps_per_hour),
        "unused": round(outcome.unused, 3),
        "never heard": outcome.never_heard,
        "filled": round(outcome.places_filled, 3),
        "gather s": round(outcome.gather_seconds, 2),
        "reads/step": round(outcome.reads_per_step, 1),
        "hub reads/look": round(outcome.keeper_shards / max(1, outcome.keeper_looks), 1),
    }


def details_of(outcome: SwarmOutcome) -> list[str]:
    """What else is worth a line, each with what the plan had in it."""
    plan = outcome.plan
    quarters = ", ".join(f"{uses:.2f}" for uses in outcome.uses_by_quarter)
    announcements = outcome.keeper_announcements / max(1, outcome.keeper_looks)
    lines = [
        f"uses of a share, from the quickest quarter of the peers to the slowest: {quarters}",
        f"announcements that the hub reads at a look: {announcements:.0f}; shares lost: {outcome.shares_lost}",
    ]
    if plan.newcomer is not None:
        lines.append(f"newcomer: {outcome.made[-1]} shares made, {outcome.uses[-1]} uses, {outcome.steps[-1]} steps")
    for name, minute in (("peer died", plan.dead_at), ("hub restarted", plan.hub_restart_at)):
        if minute is not None:
            after = ", ".join(f"{seconds:.1f}" for seconds in outcome.rounds_between(minute, minute + 2)[:6])
            lines.append(f"rounds after the {name}: {after} s")
    if plan.strangers:
        before, after_ = outcome.rounds_between(2, plan.strangers_at), outcome.rounds_between(6, plan.minutes)
        lines.append(f"median round before the strangers {_median(before)} s, with them {_median(after_)} s")
    return lines


def _median(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f}" if seconds else "-"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--spread", type=float, default=4.0, help="95th over 5th percentile of the peers' times")
    parser.add_argument(
        "--rule",
        choices=sorted(RULES),
        default="present",
        help="when a round ends and who is fetched: as it is (default), or as in version 0.1.0",
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="of virtual time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--generate", type=float, default=6.0, help="seconds, of the median peer")
    parser.add_argument("--train", type=float, default=3.0, help="seconds, of the median peer")
    parser.add_argument("--arrive", type=float, default=5.0, help="all peers arrive within so many seconds")
    parser.add_argument("--dead", type=float, help="minute at which a peer dies without a word")
    parser.add_argument("--newcomer", type=float, help="how many times slower than the median one more peer is")
    parser.add_argument("--hub-restart", type=float, help="minute at which the hub forgets everything")
    parser.add_argument("--strangers", choices=sorted(STRANGERS), help="who comes at minute 5")
    parser.add_argument("--strangers-count", type=int, help="how many; as many as there are peers by default")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser


if __name__ == "__main__":
    main()

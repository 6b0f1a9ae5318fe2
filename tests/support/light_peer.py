"""A process: a peer with the real exchange, rounds by the clock, and random text instead of a model's answers.

Prints one JSON object a round, such as ``{"round": 7, "began": 1.7e9, "seconds": 1.3, "from": ["Qm..."],
"ways": {"Qm...": "direct"}, "dropped": {}}``.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import string
import sys
import time
from pathlib import Path

from rgym_exp.swarm.libp2p import LibP2PExchange
from rgym_exp.types import Completion, Share, SharedGroup

TASKS_DIGEST = "0" * 64
GROUPS, COMPLETIONS = 4, 8
ENOUGH_SHARES = 8


def main() -> None:
    """Play until the process is ended."""
    arguments = _arguments()
    arguments.home.mkdir(parents=True, exist_ok=True)
    exchange = LibP2PExchange(
        identity_path=arguments.home / "swarm.pem",
        swarm_id="lab",
        tasks_digest=TASKS_DIGEST,
        max_slots=32,
        num_generations=COMPLETIONS,
        host=arguments.host,
        port=arguments.port,
        bootnodes=arguments.bootnodes,
    )
    print(json.dumps({"peer_id": exchange.peer_id}), flush=True)
    last = int(time.time() / arguments.round_seconds)  # the round that is under way is not a full one
    while True:
        current = int(time.time() / arguments.round_seconds)
        if current == last:
            time.sleep(0.02)
            continue
        last = current
        began, began_at = time.monotonic(), time.time()
        gathering = exchange.start_gathering(current)
        time.sleep(arguments.work_seconds)
        exchange.publish(
            _share(exchange.peer_id, current, arguments.chars),
            swarm_round=current,
            model_name="m",
            account="",
            mean_reward=0.1,
        )
        left = arguments.round_seconds - 0.5 - (time.monotonic() - began)
        received = gathering.close(timeout_seconds=left, enough_shares=ENOUGH_SHARES)
        report = {
            "round": current,
            "began": began_at,
            "seconds": round(time.monotonic() - began, 2),
            "from": sorted(each.announcement.peer_id for each in received),
            "ways": exchange.ways(),
            "dropped": exchange.dropped(),
        }
        print(json.dumps(report), flush=True)


def _share(peer_id: str, round: int, chars: int) -> Share:
    """A share whose packed size is about ``GROUPS * COMPLETIONS * chars * 0.75`` bytes: random letters and digits."""
    letters = string.ascii_letters + string.digits + " ,"
    return Share(
        swarm_id="lab",
        round=round,
        peer_id=peer_id,
        tasks_digest=TASKS_DIGEST,
        groups=tuple(
            SharedGroup(
                slot=slot,
                completions=tuple(
                    Completion(text="".join(random.choices(letters, k=chars)), ended=True, mean_logprob=-1.0)
                    for _ in range(COMPLETIONS)
                ),
            )
            for slot in range(GROUPS)
        ),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--bootnodes", nargs="+", required=True)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--chars", type=int, default=256, help="characters of each of the 32 completions")
    parser.add_argument("--round-seconds", type=float, default=5.0)
    parser.add_argument("--work-seconds", type=float, default=1.0, help="from a round's start until it is published")
    return parser.parse_args()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    main()

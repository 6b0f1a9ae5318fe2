"""A run and reports of its rounds, for tests of what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rgym_exp.observe.progress import RunInfo
from rgym_exp.types import RoundReport

RUN = RunInfo(
    peer_id="QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ",
    peer_name="quiet amber otter",
    model_name="SmolLM2-135M-Instruct",
    network="local",
    device="cpu",
    dtype="bfloat16",
    tasks="starter",
    log_file=Path("logs/swarm.log"),
)


def round_report(step: int, **changes: Any) -> RoundReport:
    """The report of one round of the swarm's, 100 rounds ahead of the node's own count."""
    plain: dict[str, Any] = {
        "round": step + 100,
        "step": step,
        "time": 1_700_000_000.0 + step,
        "skipped": 0,
        "local_groups": 4,
        "external_groups": 0,
        "external_peers": (),
        "local_reward": 0.25,
        "external_reward": None,
        "held_out": None,
        "zero_advantage_share": 0.5,
        "truncated_share": 0.0,
        "loss": 0.01,
        "entropy": 0.9,
        "grad_norm": 0.4,
        "clip_share": 0.0,
        "tokens_per_second": 236.0,
        "phase_seconds": {"generate": 7.5},
        "peak_memory_bytes": 2**31,
        "outbox_depth": 0,
        "dropped": {},
        "vote": None,
    }
    return RoundReport(**{**plain, **changes})

"""Round reports as JSON lines (``logs/metrics.jsonl``), there and back, and the memory a process has used.

The keys are the field names of ``RoundReport`` and stay stable: other programs read them.
"""

from __future__ import annotations

import json
import logging
import math
import resource
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rgym_exp.aliases import REPORT_KEYS
from rgym_exp.types import RoundReport

logger = logging.getLogger("rl_swarm.observe")

_NEEDED = ("round", "step", "time")
_WHOLE = ("skipped", "local_groups", "external_groups", "peak_memory_bytes", "outbox_depth", "judge_answers", "interim")
_MAPPINGS = ("phase_seconds", "dropped", "external_weights", "ways")
_MAY_BE_NONE = ("external_reward", "held_out", "vote", "judge_score", "bet_tokens")


_BEFORE_TRAINING = (*_NEEDED, "held_out")
"""All that a line of step 0 has."""


def before_training(held_out: float, *, time: float) -> RoundReport:
    """Step 0 of a model's curve: its held-out accuracy before the first round, and nothing else."""
    content = {"round": 0, "step": 0, "time": time, "held_out": held_out}
    return RoundReport(**{field.name: _value(field.name, content.get(field.name)) for field in fields(RoundReport)})


def to_json(report: RoundReport) -> str:
    """One line of standard JSON; a number that isn't finite (a loss of NaN, say) becomes null."""
    content = asdict(report)
    if report.is_before_training:
        content = {key: content[key] for key in _BEFORE_TRAINING}
    return json.dumps(_finite(content), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def from_json(line: str) -> RoundReport:
    """Read a line of ``to_json``, also of another version: unknown keys are ignored, missing ones get an empty value.

    Raises:
        ValueError: it is not the line of a round.
    """
    try:
        content = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply for a round's line") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), (int, float)) for key in _NEEDED):
        raise ValueError(f"not a round's line: it lacks a number for one of {', '.join(_NEEDED)}")
    content |= {name: content[old] for old, name in REPORT_KEYS.items() if old in content and name not in content}
    try:
        return RoundReport(**{field.name: _value(field.name, content.get(field.name)) for field in fields(RoundReport)})
    except OverflowError:
        raise ValueError("not a round's line: a number is too large") from None


def read_reports(path: Path) -> list[RoundReport]:
    """All rounds in the file, oldest first; none if there is no file. Lines that can't be read are left out."""
    return [report for report in read_history(path) if not report.is_before_training]


def read_history(path: Path) -> list[RoundReport]:
    """The same with what models were like before their first rounds, where that is known.

    A crash may tear the last line, so that is no reason to give up the rest of a curve.
    """
    if not path.exists():
        return []
    found: list[RoundReport] = []
    unreadable = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                found.append(from_json(line))
            except ValueError:
                unreadable += bool(line.strip())
    if unreadable:
        logger.info("%s: %d lines could not be read and are left out of the curve.", path, unreadable)
    return found


def scalars(report: RoundReport) -> dict[str, float]:
    """The report as named numbers, grouped the way trackers group their charts; what is None is left out.

    ``docs/metrics.md`` says of each what it is.
    """
    if report.is_before_training:
        return {} if report.held_out is None else {"reward/held_out": report.held_out}
    groups = report.local_groups + report.external_groups
    numbers: dict[str, float | None] = {
        "reward/local": report.local_reward,
        "reward/external": report.external_reward,
        "reward/held_out": report.held_out,
        "groups/local": report.local_groups,
        "groups/external": report.external_groups,
        "groups/external_share": report.external_groups / groups if groups else None,
        "groups/zero_advantage_share": report.zero_advantage_share,
        "groups/truncated_share": report.truncated_share,
        "train/loss": report.loss,
        "train/entropy": report.entropy,
        "train/grad_norm": report.grad_norm,
        "train/clip_share": report.clip_share,
        "speed/tokens_per_second": report.tokens_per_second,
        "speed/peak_memory_bytes": report.peak_memory_bytes,
        "swarm/round": report.round,
        "swarm/interim": report.interim or None,
        "swarm/skipped": report.skipped,
        "swarm/peers": len(report.external_peers),
        "swarm/dropped": sum(report.dropped.values()),
        "chain/outbox_depth": report.outbox_depth,
        "judge/score": report.judge_score,
        "judge/answers": report.judge_answers or None,
        "market/bet_tokens": report.bet_tokens,
        **{f"weights/{name}": weight for name, weight in report.external_weights.items()},
        **{f"seconds/{phase}": seconds for phase, seconds in report.phase_seconds.items()},
        **{f"ways/{way}": count for way, count in report.way_counts.items()},
        **{f"dropped/{reason}": count for reason, count in report.dropped.items()},
    }
    return {name: float(number) for name, number in numbers.items() if number is not None}


def peak_memory_bytes(device: str = "cpu") -> int:
    """The most memory used so far: of the GPU when ``device`` is one, of this process otherwise."""
    torch = sys.modules.get("torch")  # Never imported for this: where a GPU is used, it already is.
    if torch is not None and device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB.


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, Iterable) and not isinstance(value, str) else value


def _value(name: str, value: Any) -> Any:
    if name in _MAPPINGS:
        return {key: inner for key, inner in value.items() if inner is not None} if isinstance(value, dict) else {}
    if name == "external_peers":
        return tuple(str(peer) for peer in value) if isinstance(value, list) else ()
    if name == "vote":
        return value if isinstance(value, str) else None
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value else None
    if name in ("round", "step", *_WHOLE):
        return int(number or 0)
    if number is None:
        return None if name in _MAY_BE_NONE else math.nan
    return float(number)

"""What the node tells while it works, and the kinds of listener: a full-screen view, log lines, or a list for tests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from rgym_exp.observe.logs import route_third_party_logs
from rgym_exp.types import RoundReport, round_name

logger = logging.getLogger("rl_swarm.observe")

TransactionRow = tuple[str, int | None, str, str]
"""(kind, round, status, detail), as the coordinator lists them, newest first. A bet's or claim's round is its game, and
a registration has none."""

PHASES = ("wait", "generate", "score", "publish", "gather", "train", "record")
"""A round's phases in their order; ``RoundReport.phase_seconds`` has the same names."""


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What stays the same during a run."""

    peer_id: str
    peer_name: str
    """The animal name that goes with the peer id."""
    model_name: str
    network: str
    device: str
    dtype: str
    tasks: str
    log_file: Path
    has_hub: bool = True
    """Whether rounds are a hub's or a contract's; else a clock's, as on network offline."""
    max_rounds: int | None = None
    """How many rounds this run plays; None where it goes on until it is stopped."""


@dataclass(frozen=True, kw_only=True)
class LiveSources:
    """What may be asked for at any time, from any thread, and takes no time to answer."""

    peers: Callable[[], Sequence[str]]
    """Ids of the other peers that are in the swarm now."""
    waiting: Callable[[], int]
    """Transactions that are neither confirmed nor refused. Raises SwarmUserError, as the next does."""
    transactions: Callable[[], Sequence[TransactionRow]]
    """The last few, newest first."""


class Progress(Protocol):
    """Listens to a run. Called from the node's threads; no method raises or takes long."""

    def started(self, run: RunInfo) -> None:
        """Called once, first of all."""

    def watch(self, sources: LiveSources) -> None:
        """Called once when the node is in the swarm: what changes while it works can be looked up from here on."""

    def phase(self, name: str, detail: str = "", *, round: int | None = None) -> None:
        """Called when the node turns to something else: one of ``PHASES``, or anything else by name ("load model").

        ``round`` is the round's number among peers, where the phase belongs to a round.
        """

    def round_done(self, report: RoundReport) -> None:
        """Called after every finished round."""

    def transactions(self, rows: Sequence[TransactionRow]) -> None:
        """Called with the last few transactions, newest first, whenever somebody has looked."""

    def held_out(self, value: float) -> None:
        """Called after an evaluation outside of a round, e.g. at the start; in [0, 1]."""

    def close(self) -> None:
        """Called once at the end, also after a failure."""


def wants_live(live: str, terminal: TextIO) -> bool:
    """Whether ``observe.live`` (auto, yes or no) means the full-screen view on this terminal."""
    return live == "yes" or (live == "auto" and terminal.isatty())


class LineProgress:
    """One log line a round: for terminals without a screen, containers and log collectors."""

    def __init__(self) -> None:
        self._refused: set[TransactionRow] = set()

    def started(self, run: RunInfo) -> None:
        route_third_party_logs()
        logger.info(
            "%s (%s) on network %s: %s, %s %s, tasks %s. Log: %s",
            run.peer_name, run.peer_id, run.network, run.model_name, run.device, run.dtype, run.tasks, run.log_file,
        )  # fmt: skip

    def watch(self, sources: LiveSources) -> None:
        """Lines are of what has happened."""

    def phase(self, name: str, detail: str = "", *, round: int | None = None) -> None:
        where = "" if round is None else f"round {round_name(round)}: "
        # What belongs to most rounds is in their lines; anything else is worth a line of its own.
        level = logging.DEBUG if name in (*PHASES, "judge") else logging.INFO
        logger.log(level, "%s%s%s", where, name, f": {detail}" if detail else "")

    def round_done(self, report: RoundReport) -> None:
        logger.info("%s", round_line(report))

    def transactions(self, rows: Sequence[TransactionRow]) -> None:
        for row in rows:
            if row[2] == "refused" and row not in self._refused:
                self._refused.add(row)
                logger.info("The contract refused the %s: %s", " of ".join(filter(None, about(row))), row[3])

    def held_out(self, value: float) -> None:
        logger.info("Held-out accuracy: %.3f", value)

    def close(self) -> None:
        """Nothing is held back."""


def round_line(report: RoundReport) -> str:
    """A round on one line: where, how well, with whom, how fast, and what waits or was dropped."""
    parts = [f"round {round_name(report.number)} (step {report.step})"]
    if report.skipped:
        parts.append(f"skipped {report.skipped}")
    parts.append(f"reward {report.local_reward:.3f}")
    if report.held_out is not None:
        parts.append(f"held-out {report.held_out:.3f}")
    if report.judge_score is not None:
        parts.append(f"judge {report.judge_score:.3f} of {counted(report.judge_answers, 'answer')}")
    groups = f"groups {report.local_groups} local + {report.external_groups} external"
    parts.append(f"{groups} from {counted(len(report.external_peers), 'peer')}" if report.external_peers else groups)
    if report.way_counts.keys() - {"direct"}:
        parts.append(f"shares {ways_words(report)}")
    parts.append(f"{report.tokens_per_second:.0f} tok/s")
    phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in report.phase_seconds.items() if seconds >= 0.05)
    total = f"{sum(report.phase_seconds.values()):.1f} s"
    parts.append(f"{total} ({phases})" if phases else total)
    if report.bet_tokens is not None:
        parts.append(f"{amount(report.bet_tokens)} bet tokens")
    if report.outbox_depth:
        parts.append(f"{counted(report.outbox_depth, 'transaction')} waiting")
    if report.dropped:
        parts.append(f"dropped {dropped_words(report)}")
    return " · ".join(parts)


def dropped_words(report: RoundReport) -> str:
    """Reasons and counts, most frequent first."""
    return ", ".join(f"{count} {why}" for why, count in sorted(report.dropped.items(), key=lambda item: -item[1]))


def ways_words(report: RoundReport) -> str:
    """How the shares came, as ``1 direct, 3 through a bootnode``."""
    words = {"direct": "direct", "circuit": "through libp2p's relay", "bootnode": "through a bootnode"}
    return ", ".join(f"{count} {words.get(way, way)}" for way, count in report.way_counts.items())


def about(row: TransactionRow) -> tuple[str, str]:
    """What a transaction is, and what it belongs to: a round, a game of the prediction market, or ("") neither."""
    kind, number, *_ = row
    if number is None:
        return "registration" if kind == "register" else kind, ""
    return kind, f"{'game' if kind in ('bet', 'claim') else 'round'} {number}"


def amount(tokens: float) -> str:
    """1,250 or 37.5."""
    return f"{tokens:,.1f}".removesuffix(".0")


def counted(number: int, noun: str) -> str:
    """1 peer, 2 peers."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

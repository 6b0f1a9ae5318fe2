"""What the live view knows: everything it was told, boiled down to what it shows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rgym_exp.observe.notices import Notice
from rgym_exp.observe.progress import RunInfo, TransactionRow
from rgym_exp.types import RoundReport


@dataclass
class ViewState:
    """Changed by the view's methods under its lock, read by the frame."""

    run: RunInfo | None = None
    phase: str = "start"
    detail: str = ""
    round: int | None = None
    """The number among peers of the round being played; None until the node says."""
    phase_since: float = 0.0
    """Monotonic seconds, like all times here."""
    started_at: float = 0.0
    done_phases: list[str] = field(default_factory=list)
    """Phases of the round being played that are over."""
    reports: list[RoundReport] = field(default_factory=list)
    """All rounds, those of earlier runs of this node included, oldest first."""
    rounds_before: int = 0
    """How many of ``reports`` are from earlier runs."""
    held_out_before: dict[int, float] = field(default_factory=dict)
    """Evaluations before a model's first round, by how many of ``reports`` came before."""
    peers: Sequence[str] | None = None
    """Ids of the other peers that are in the swarm now; None before this node is in it."""
    waiting: int = 0
    """Transactions that wait in the outbox now."""
    transactions: Sequence[TransactionRow] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    """Records and shares dropped in this run, by reason."""
    peer_rounds: Counter[str] = field(default_factory=Counter)
    """In how many rounds a peer's groups were used, by peer id."""
    peer_ways: dict[str, str] = field(default_factory=dict)
    """Which way a peer's last share came (see ``RoundReport.ways``), by peer id."""
    notices: list[Notice] = field(default_factory=list)
    """Warnings of our log, oldest first; those that are no longer true are taken out as others come."""
    page: str = ""
    """Address of the node's web page, once there is one."""
    closing: bool = False
    """The node is finishing, after Ctrl-C."""
    closed: bool = False
    """The view is over: this is its last frame."""

    def remember(self, history: Sequence[RoundReport]) -> None:
        """What earlier runs of this node have left, oldest first."""
        for report in history:
            if not report.is_before_training:
                self.reports.append(report)
                self.peer_rounds.update(report.external_peers)
            elif report.held_out is not None:
                self.held_out_before[len(self.reports)] = report.held_out
        self.rounds_before = len(self.reports)

    def enter(self, phase: str, detail: str, round: int | None, now: float) -> None:
        """The node turns to ``phase``."""
        if round is not None and round != self.round:
            self.round = round
            # Which round it is turns out at the end of the wait, which belongs to it.
            self.done_phases = ["wait"] if self.phase == "wait" != phase else []
        elif phase != self.phase and self.phase not in self.done_phases:
            self.done_phases.append(self.phase)
        if phase != self.phase or round is not None:
            self.phase_since = now
        self.phase, self.detail = phase, detail

    def add(self, report: RoundReport) -> None:
        """A round is over."""
        self.reports.append(report)
        self.peer_rounds.update(report.external_peers)
        self.peer_ways.update(report.ways)
        self.dropped.update(report.dropped)
        self.done_phases.clear()
        self.round = None

    def warn(self, notice: Notice) -> None:
        """A warning is in the log. Said again, it is no news, but lasts anew."""
        self.notices = [old for old in self.notices if old.is_true(notice.at) and old.text != notice.text]
        self.notices.append(notice)

    @property
    def last_step(self) -> int | None:
        """The step that this run ends with; None where it goes on until it is stopped, and before its first round."""
        own = self.reports[self.rounds_before :]
        if self.run is None or self.run.max_rounds is None or not own:
            return None
        return own[0].step - 1 + self.run.max_rounds

    def seconds_left(self) -> float | None:
        """About how long the rest of the run takes, by its last ten rounds; None before its second."""
        recent = self.reports[self.rounds_before :][-11:]
        if self.last_step is None or len(recent) < 2:
            return None
        mean = (recent[-1].time - recent[0].time) / (len(recent) - 1)
        return max(0.0, mean * (self.last_step - recent[-1].step))

    def curve(self) -> tuple[list[float], list[float | None]]:
        """Rewards and held-out accuracies by round."""
        rewards, held_out = [], []
        for index, report in enumerate(self.reports):
            if math.isnan(report.local_reward):  # A line of metrics.jsonl without it.
                continue
            rewards.append(report.local_reward)
            at_start = self.held_out_before.get(index)
            held_out.append(at_start if report.held_out is None else report.held_out)
        return rewards, held_out

    def last_judged(self) -> RoundReport | None:
        """The latest round in which the judge's scores arrived."""
        return next((report for report in reversed(self.reports) if report.judge_score is not None), None)

    def bet_tokens(self) -> float | None:
        """Tokens to bet in the prediction market, when last heard of."""
        return next((report.bet_tokens for report in reversed(self.reports) if report.bet_tokens is not None), None)

    def last_held_out(self) -> float | None:
        """The latest evaluation."""
        found = [value for value in self.curve()[1] if value is not None]
        # One of a model that has played no round yet is of no round's place.
        return self.held_out_before.get(len(self.reports), found[-1] if found else None)

"""What a model's training was like, told in a bounded number of words: what the model card reports."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rgym_exp.types import RoundReport

_MOST_STRETCHES = 20
# Peers that are told apart: enough to name the most frequent twenty, in a swarm of any size and for weeks.
_MOST_PEERS = 4096


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Some rounds in a row."""

    first_step: int
    last_step: int
    rewards: int
    """Rounds whose reward is known."""
    reward_sum: float
    held_out: float | None
    """The last held-out accuracy within; None without any."""

    @property
    def reward(self) -> float | None:
        """Mean reward of local completions, in [0, 1]."""
        return self.reward_sum / self.rewards if self.rewards else None

    def followed_by(self, later: Stretch) -> Stretch:
        """Both as one."""
        return Stretch(
            first_step=self.first_step,
            last_step=later.last_step,
            rewards=self.rewards + later.rewards,
            reward_sum=self.reward_sum + later.reward_sum,
            held_out=self.held_out if later.held_out is None else later.held_out,
        )


class TrainingHistory:
    """Adds up round reports; takes the same memory after ten rounds and after ten million."""

    def __init__(self, history: Sequence[RoundReport] = ()) -> None:
        """``history``: reports of earlier runs, oldest first; those of this very model are kept (see ``add``)."""
        self._history = list(history)
        self._stretches: list[Stretch] = []
        self._width = 1
        self._peers: Counter[str] = Counter()
        self.rounds = 0
        """Rounds that are told of here."""
        self.rounds_with_others = 0
        """Of these, rounds with groups of other peers in the batch."""
        self.last: RoundReport | None = None
        """The newest report of this run."""
        self.held_out_before: float | None = None
        """Held-out accuracy before the first step, where it was measured."""

    def add(self, report: RoundReport) -> None:
        """The report of a round that was just played. The first one decides which of the history came before it."""
        for earlier in _of_this_model(self._history, report.step):
            if earlier.is_before_training:
                self.held_out_before = earlier.held_out
            else:
                self._take(earlier)
        self._history.clear()
        self._take(report)
        self.last = report

    def curve(self) -> tuple[Stretch, ...]:
        """At most 20 stretches of equal length (the last may be shorter), oldest first."""
        return tuple(self._stretches)

    def peers(self, limit: int) -> list[str]:
        """Peer ids whose groups were trained on, those of the most rounds first."""
        return [peer for peer, _ in self._peers.most_common(limit)]

    @property
    def peer_count(self) -> int:
        """How many peers that were."""
        return len(self._peers)

    def _take(self, report: RoundReport) -> None:
        self.rounds += 1
        self.rounds_with_others += report.external_groups > 0
        for peer in report.external_peers:
            if peer in self._peers or len(self._peers) < _MOST_PEERS:
                self._peers[peer] += 1
        known = math.isfinite(report.local_reward)
        here = Stretch(
            first_step=report.step,
            last_step=report.step,
            rewards=int(known),
            reward_sum=report.local_reward if known else 0.0,
            held_out=report.held_out,
        )
        # Full stretches have ``width`` rounds; only the last may have fewer.
        if self._stretches and (self.rounds - 1) % self._width:
            self._stretches[-1] = self._stretches[-1].followed_by(here)
            return
        if len(self._stretches) == _MOST_STRETCHES:
            pairs = zip(self._stretches[::2], self._stretches[1::2], strict=True)
            self._stretches = [first.followed_by(second) for first, second in pairs]
            self._width *= 2
        self._stretches.append(here)


def _of_this_model(history: Sequence[RoundReport], step: int) -> list[RoundReport]:
    """Reports of the steps before ``step``, without those of an earlier model and of steps that were lost in a crash.

    The file of reports goes on across runs, in which the step count starts anew with a new model and falls back to
    the checkpoint's after a crash.
    """
    found: list[RoundReport] = []
    for report in reversed(history):
        if step <= 1:
            # What the model began with is right before its first round, or nowhere.
            found += [report] if step == 1 and report.is_before_training else []
            break
        if report.step < step:
            found.append(report)
            step = report.step
    return found[::-1]

"""Where peers stand: one row each out of ledger, judge and market, in order.

What the rows hold was said by strangers: a reward is what a peer reported of itself, a vote is what other peers said
of it, and only the judge's accuracy was measured by the hub, on answers that came in the peer's name. So all three are
shown beside each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rgym_exp.swarm.names import animal_name

MAX_MODEL_NAME = 100
Z_95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""

# Brackets would count as nesting where JSON of strangers is read (config.shallow_json).
_ODD_IN_MODEL = re.compile(r"[^\w ./:+@-]")


class LedgerTally(Protocol):
    """What the ledger says of a peer; see ``ledger.Tally``."""

    @property
    def peer_id(self) -> str: ...
    @property
    def rounds(self) -> int: ...
    @property
    def reward(self) -> int: ...
    @property
    def wins(self) -> int: ...
    @property
    def first_round(self) -> int: ...
    @property
    def last_round(self) -> int: ...


class JudgeTally(Protocol):
    """What the judge says of a peer."""

    @property
    def model_name(self) -> str:
        """Of its newest answer."""
        ...

    @property
    def answers(self) -> int:
        """How many were scored."""
        ...

    @property
    def right(self) -> float:
        """Sum of their scores, each in [0, 1]."""
        ...

    @property
    def asked(self) -> int:
        """How many questions were handed out."""
        ...


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A peer's accuracy on the judge's questions, one answer a question (pass@1)."""

    accuracy: float
    low: float
    """Lower end of the 95 % confidence interval, in [0, 1]."""
    high: float
    answers: int
    asked: int
    """Questions handed out to it: who answers only those that it is sure of is right more often."""

    @property
    def is_choosy(self) -> bool:
        """It answered fewer than half of the questions: its accuracy isn't comparable."""
        return 2 * self.answers < self.asked


@dataclass(frozen=True, kw_only=True)
class RankedPeer:
    """One row of the leaderboard."""

    name: str
    """Three words that follow from the peer id."""
    peer_id: str
    rounds: int
    """Rounds for which the peer has reported a reward."""
    participation: float
    """Share of the swarm's rounds since the peer's first one that it has reported a reward for, in [0, 1]."""
    reward: int
    """Sum of all rewards that the peer has reported."""
    wins: int
    """Votes that it got."""
    judged: Judged | None
    """None when it hasn't answered the judge."""
    bet_tokens: float | None
    """What it may bet in the prediction market; None without a market, or before it was asked."""
    last_round: int
    model_name: str | None
    """In its own words."""


def wilson_interval(right: float, answers: int, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval for a success rate, within [0, 1]: (0, 1) without answers.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22 (1927) 209-212; recommended for small samples by Brown, Cai and DasGupta, "Interval
    estimation for a binomial proportion", Statistical Science 16 (2001) 101-133.

    Scores between 0 and 1 are added up as parts of a right answer. A score in [0, 1] with mean p has a variance of at
    most p (1 - p), that of right-or-wrong, so the interval is then no narrower than it has to be.
    """
    if answers <= 0:
        return 0.0, 1.0
    rate = min(max(right / answers, 0.0), 1.0)
    scale = 1 + z * z / answers
    middle = (rate + z * z / (2 * answers)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / answers + z * z / (4 * answers * answers))
    # At 0 and 1 the ends are exact on paper; floats must not show 0.9999999.
    low = 0.0 if rate == 0 else max(0.0, middle - half)
    return low, 1.0 if rate == 1 else min(1.0, middle + half)


def participation(tally: LedgerTally, swarm_round: int) -> float:
    """Rounds with a reward over rounds of the swarm since the peer's first. The current round counts once the peer has
    reported it: nobody is late for a round that is being played."""
    newest = max(tally.last_round, swarm_round - 1)
    return min(1.0, max(0.0, tally.rounds / max(1, newest - tally.first_round + 1)))


def rank(
    tallies: Iterable[LedgerTally],
    *,
    swarm_round: int,
    judged: Mapping[str, JudgeTally],
    bet_tokens: Mapping[str, float],
    models: Mapping[str, str],
) -> list[RankedPeer]:
    """Rows by reward, then votes, then name. Only peers of the ledger have one: there an account signed for them, while
    anybody can answer the judge in any name.

    Args:
        judged: by peer id, as are the next two.
        models: what peers announced; the judge's newer word is preferred.
    """
    rows = [
        RankedPeer(
            name=animal_name(tally.peer_id),
            peer_id=tally.peer_id,
            rounds=tally.rounds,
            participation=round(participation(tally, swarm_round), 4),
            reward=tally.reward,
            wins=tally.wins,
            judged=_judged(judged.get(tally.peer_id)),
            bet_tokens=bet_tokens.get(tally.peer_id),
            last_round=tally.last_round,
            model_name=_model(tally.peer_id, judged, models),
        )
        for tally in tallies
    ]
    return sorted(rows, key=lambda row: (-row.reward, -row.wins, row.name, row.peer_id))


def _judged(tally: JudgeTally | None) -> Judged | None:
    if tally is None or tally.answers <= 0 or not 0 <= tally.right <= tally.answers:
        return None
    low, high = wilson_interval(tally.right, tally.answers)
    return Judged(
        accuracy=round(tally.right / tally.answers, 4),
        low=round(low, 4),
        high=round(high, 4),
        answers=tally.answers,
        asked=max(tally.asked, tally.answers),
    )


def _model(peer_id: str, judged: Mapping[str, JudgeTally], models: Mapping[str, str]) -> str | None:
    tally = judged.get(peer_id)
    return shown_model((tally.model_name if tally else "") or models.get(peer_id, "")) or None


def shown_model(name: str) -> str:
    """A model's name without anything that a reader could stumble over."""
    return _ODD_IN_MODEL.sub("?", name)[:MAX_MODEL_NAME]

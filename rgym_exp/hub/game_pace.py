"""When a game of the prediction market goes on: clues last some rounds of the swarm, and never less than a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GamePace:
    """How fast a game goes."""

    clues: int = 5
    """4 or 5."""
    rounds_per_clue: int = 2
    shortest_seconds: float = 5.0
    """No clue lasts less, so that a bet has time to get on chain."""


class GameTime:
    """Which clue is told, and what is due in a round of the swarm."""

    def __init__(self, pace: GamePace, *, clock: Callable[[], float]) -> None:
        self._pace = pace
        self._clock = clock
        self._clue: int | None = None
        self._round = 0
        """The swarm's round in which it was first told."""
        self._since = 0.0
        self._next_from: int | None = None
        """The swarm's round from which on a game may begin; None: when the swarm has moved on once."""

    @property
    def clue(self) -> int | None:
        """Which clue of the running game is told; None: none is."""
        return self._clue

    def tell(self, clue: int, round: int) -> None:
        """From now on this clue is told."""
        if clue != self._clue:
            self._clue, self._round, self._since = clue, round, self._clock()

    def is_clue_over(self, round: int) -> bool:
        """Whether the clue that is told has been long enough."""
        # After the chain was set back, its rounds are counted again from an earlier one.
        self._round = min(self._round, round)
        rounds = round - self._round
        return rounds >= self._pace.rounds_per_clue and self._clock() - self._since >= self._pace.shortest_seconds

    def end(self, round: int) -> None:
        """The game is over. The next begins as many rounds later as a clue lasts: until then players claim, and have
        their tokens for it."""
        self._clue = None
        self._next_from = round + self._pace.rounds_per_clue

    def may_begin(self, round: int) -> bool:
        """Whether the next game may begin in this round; asked in every round without a game."""
        soonest = round + (1 if self._next_from is None else self._pace.rounds_per_clue)
        # After the chain was set back, its rounds are counted again from an earlier one.
        self._next_from = soonest if self._next_from is None else min(self._next_from, soonest)
        return round >= self._next_from

"""Questions drawn ahead, so that a whole swarm that begins a round together need not wait for a draw each.

Everybody gets a question that nobody had, as long as drawing keeps up. Beyond that the questions of a while ago are
handed out again, to others, by chance: better one that somebody else had too than none.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass

from rgym_exp.types import Problem

_random = secrets.SystemRandom()


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A question with the number that it was drawn by."""

    number: int
    """256 bits that nobody outside knows; the same number is the same problem for ever."""
    problem: Problem


class QuestionStock:
    """Its owner has one thread, or locks."""

    def __init__(self, *, ahead: int = 1024, again: int = 4096, enough: int = 512, kept: int = 8192) -> None:
        """
        Args:
            ahead: questions that are drawn before anybody asks.
            again: handed-out ones that may be handed out again.
            enough: with fewer than so many to choose from, none is handed out again: a draw is worth the wait.
            kept: problems remembered for scoring, about 2 KB each; others are drawn once more by their number.
        """
        self._ahead = ahead
        self._enough = enough
        self._kept = kept
        self._fresh: deque[Drawn] = deque()
        self._used: deque[Drawn] = deque(maxlen=again)
        self._problems: OrderedDict[int, Problem] = OrderedDict()

    def has(self, count: int) -> bool:
        """Whether so many can be handed out now."""
        return len(self._fresh) >= count or self.has_enough

    @property
    def has_enough(self) -> bool:
        """Whether there is so much to choose from that nobody need wait."""
        return len(self._fresh) + len(self._used) >= self._enough

    @property
    def wanted(self) -> int:
        """Questions to draw until enough are ahead."""
        return max(0, self._ahead - len(self._fresh))

    def add(self, drawn: Drawn) -> None:
        """One more that nobody had."""
        self._fresh.append(drawn)
        self._problems[drawn.number] = drawn.problem
        while len(self._problems) > self._kept:
            self._problems.popitem(last=False)

    def take(self, count: int) -> list[Drawn]:
        """So many different ones, or as many as there are: first those that nobody had."""
        fresh = [self._fresh.popleft() for _ in range(min(count, len(self._fresh)))]
        again = min(count - len(fresh), len(self._used))
        taken = [*fresh, *_random.sample(self._used, again)] if again else fresh
        self._used.extend(fresh)
        return taken

    def problem(self, number: int) -> Problem | None:
        """The problem of this number, if it is still remembered."""
        return self._problems.get(number)

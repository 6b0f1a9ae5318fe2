"""How many bytes a second may be taken, in all or by each of the many who take."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable


class ByteBudget:
    """So many bytes per second, with a burst; who has used it up waits. What is taken may overdraw it once."""

    def __init__(self, *, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._left, self._at = burst, clock()

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left now."""
        self._refill()
        return self._left <= 0

    @property
    def is_full(self) -> bool:
        """Whether nothing was taken that is not refilled."""
        self._refill()
        return self._left >= self._burst

    def take(self, count: int) -> None:
        """Count ``count`` bytes as sent."""
        self._refill()
        self._left -= count

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now


class HouseholdBudgets:
    """A ``ByteBudget`` for each household, all of the same size; so many households are remembered."""

    def __init__(
        self, *, per_second: float, burst: float, remembered: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second, self._burst, self._remembered, self._clock = per_second, burst, remembered, clock
        self._budgets: OrderedDict[str, ByteBudget] = OrderedDict()

    def __len__(self) -> int:
        return len(self._budgets)

    def of(self, household: str) -> ByteBudget:
        """The budget of this household."""
        if household not in self._budgets:
            self._forget_idle()
            self._budgets[household] = ByteBudget(per_second=self._per_second, burst=self._burst, clock=self._clock)
        self._budgets.move_to_end(household)
        return self._budgets[household]

    def _forget_idle(self) -> None:
        """Those that are full say nothing; where there are none, the longest unused goes."""
        if len(self._budgets) < self._remembered:
            return
        full = [household for household, budget in self._budgets.items() if budget.is_full]
        for household in full or [next(iter(self._budgets))]:
            del self._budgets[household]

"""What a transaction's answers tell about the next one of its kind, so that nothing need be asked for that.

A node reports a reward and a vote in every round. Gas, number and fees of each are five questions to the chain, which
answers the same every time on a chain without fees; a thousand nodes ask them twice a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

GAS_TO_SPARE = 500_000
"""On top of an earlier estimate: what the contract may have to write for one and not for the other. It costs nothing
where there are no fees."""
FREE_SECONDS = 600.0
"""How long a chain is taken to be without fees after it said so."""
SHARED_SECONDS = 600.0
"""How long an account is taken to be used by others too, whose transactions take the next number."""


@dataclass(frozen=True, kw_only=True)
class _Estimated:
    gas: int
    data_bytes: int
    """Of the call: a longer one may need more."""


class LastSent:
    """What is known of one account's transactions on one chain."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._free_until = 0.0
        self._shared_until = 0.0
        self._estimates: dict[str, _Estimated] = {}
        self._next: int | None = None

    def asked(self, function: str, *, gas: int, data_bytes: int, is_free: bool) -> None:
        """The chain's answers for a call of this function."""
        self._free_until = self._clock() + FREE_SECONDS if is_free else 0.0
        known = self._estimates.get(function)
        if known is None or data_bytes >= known.data_bytes:
            gas = max(gas, known.gas) if known else gas
            self._estimates[function] = _Estimated(gas=gas, data_bytes=data_bytes)

    def confirmed(self, nonce: int, *, made: int) -> None:
        """The transaction with this number is in a block; ``made`` is how many of the account are."""
        self._next = made if made == nonce + 1 else None

    def failed(self) -> None:
        """What was sent without asking did not get through as it was: somebody else may use the account."""
        self._next = None
        self._shared_until = self._clock() + SHARED_SECONDS

    def take(self, function: str, *, data_bytes: int) -> tuple[int, int] | None:
        """Gas and number for a call of this function; None when they must be asked for. A number is taken once."""
        known, number = self._estimates.get(function), self._next
        self._next = None
        if known is None or number is None or known.data_bytes < data_bytes:
            return None
        if not self._shared_until <= self._clock() < self._free_until:
            return None
        return known.gas + GAS_TO_SPARE, number

"""The swarm's time: the hub's clock as this machine knows it, steady between two looks at the hub.

This machine's own clock may be wrong by hours, or be set while a node runs; nothing that peers agree on follows it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

WARN_SECONDS = 60.0
"""A clock of this machine that is off by more is worth a word: logins and certificates depend on it."""
_MEASUREMENTS_KEPT = 8
_DRIFT_SECONDS = 0.5
"""What two clocks may drift apart between two of the measurements that are kept."""

logger = logging.getLogger("rl_swarm")


class SwarmClock:
    """Seconds since the epoch by the swarm's clock. Safe to use from several threads.

    Until a hub was heard it is this machine's clock as it was when this object was made. The offset is that of the
    quickest of the last measurements, as in NTP (RFC 5905, section 10): half its round trip bounds the error. One that
    the newest contradicts is forgotten: the machine has slept, and its monotonic clock with it.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._offset = wall_clock() - clock()
        self._measured: deque[tuple[float, float]] = deque(maxlen=_MEASUREMENTS_KEPT)
        """(round trip, offset), seconds."""
        self._is_warned = False
        self._lock = threading.Lock()

    def now(self) -> float:
        """The swarm's time now, seconds since the epoch."""
        return self._clock() + self._offset

    def observe(self, hub_time: float, sent: float, received: float) -> None:
        """Take in what the hub's clock said (epoch seconds) in an answer to a question ``sent`` and ``received`` at
        these times of ``time.monotonic``. Nonsense is left aside."""
        round_trip = received - sent
        if not (0 <= round_trip < WARN_SECONDS and 0 < hub_time < 1e11):
            return
        offset = hub_time - (sent + received) / 2
        with self._lock:
            agreeing = [
                (other_trip, other)
                for other_trip, other in self._measured
                if abs(other - offset) <= (other_trip + round_trip) / 2 + _DRIFT_SECONDS
            ]
            self._measured = deque([*agreeing, (round_trip, offset)], maxlen=_MEASUREMENTS_KEPT)
            self._offset = min(self._measured)[1]
            self._warn_once(self._wall_clock() - self.now())

    def _warn_once(self, ahead: float) -> None:
        if abs(ahead) <= WARN_SECONDS:
            self._is_warned = False
        elif not self._is_warned:
            self._is_warned = True
            logger.warning(
                "This machine's clock is %s %s the hub's. The swarm's time is used for all that peers agree on; set "
                "the clock (timedatectl set-ntp true), since logins and certificates depend on it.",
                _duration(abs(ahead)),
                "ahead of" if ahead > 0 else "behind",
            )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"

"""Fetching from peers that may fail: how often it is tried, who is left alone for a while, and who is asked last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

from rgym_exp.swarm.refused import FetchFailed
from rgym_exp.types import Announcement

_FETCH_TRIES = 3
_FETCH_PAUSE_SECONDS = 0.3
# Not a time-out: whoever didn't answer for that long would hold everybody up once more.
_WORTH_A_RETRY = frozenset({"fetch_failed", "fetch_busy", "fetch_not_here"})
MAY_WORK_LATER = _WORTH_A_RETRY | {"fetch_timeout", "unforeseen"}
"""Reasons for which a share is fetched again in the next round, where it is still found among the late ones."""


async def fetch_with_retries(fetch: Callable[[Announcement], Awaitable[bytes]], announcement: Announcement) -> bytes:
    """The share's bytes.

    Raises:
        PeerDataRefused: what the last try raised.
    """
    for attempt in range(1, _FETCH_TRIES):
        try:
            return await fetch(announcement)
        except FetchFailed as failure:
            if failure.reason not in _WORTH_A_RETRY:
                raise
            await asyncio.sleep(_FETCH_PAUSE_SECONDS * attempt)
    return await fetch(announcement)


class PeerPauses:
    """How long each peer is left alone after something did not work with it: twice as long with every further time."""

    REMEMBERED = 4096

    def __init__(
        self, *, first_seconds: float, longest_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first_seconds, self._longest_seconds, self._clock = first_seconds, longest_seconds, clock
        self._pauses: dict[str, tuple[float, float]] = {}
        """Until when, and of how many seconds; the one that began last comes last."""

    def begin(self, peer_id: str) -> None:
        """It did not work (once more)."""
        _, before = self._pauses.pop(peer_id, (0.0, 0.0))
        pause = min(2 * before, self._longest_seconds) if before else self._first_seconds
        self._pauses[peer_id] = (self._clock() + pause, pause)
        if len(self._pauses) > self.REMEMBERED:
            del self._pauses[next(iter(self._pauses))]

    def worked(self, peer_id: str) -> None:
        """It works: the next pause is the first again."""
        self._pauses.pop(peer_id, None)

    def is_under_way(self, peer_id: str) -> bool:
        """Whether this peer is to be left alone now."""
        return peer_id in self._pauses and self._clock() < self._pauses[peer_id][0]

    def __contains__(self, peer_id: str) -> bool:
        """Whether it did not work the last time, however long ago."""
        return peer_id in self._pauses


class SlowServers:
    """The peers whose shares didn't come in time lately: they are asked last, and nobody is held up by them.

    Half of what is held against a peer is forgotten with each round, and all of it once it served a share in time.
    """

    MOST = 16.0
    """So that nobody is remembered for more than seven rounds after the last time."""
    _FORGOTTEN_BELOW = 0.25

    def __init__(self) -> None:
        self._held_against: dict[str, float] = {}

    def next_round(self) -> None:
        """Forget half."""
        halved = {peer_id: held / 2 for peer_id, held in self._held_against.items()}
        self._held_against = {peer_id: held for peer_id, held in halved.items() if held >= self._FORGOTTEN_BELOW}

    def was_slow(self, peer_id: str) -> None:
        """Its share didn't come in time."""
        self._held_against[peer_id] = min(self.MOST, 2 * self._held_against.get(peer_id, 0.0) + 1.0)

    def served(self, peer_id: str) -> None:
        """Its share came."""
        self._held_against.pop(peer_id, None)

    def __contains__(self, peer_id: str) -> bool:
        return peer_id in self._held_against

    def asked_first(self, peer_ids: Collection[str]) -> list[str]:
        """Those of some peers whom to ask before the others: the ones against whom the least is held."""
        least = min((self._held_against.get(peer_id, 0.0) for peer_id in peer_ids), default=0.0)
        return [peer_id for peer_id in peer_ids if self._held_against.get(peer_id, 0.0) <= least]

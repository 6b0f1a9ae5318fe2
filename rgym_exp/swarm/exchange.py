"""How a node hands its shares to the swarm and gets those of others: the Protocols, and what both kinds share."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from rgym_exp.types import Announcement, ReceivedShare, Share


class Gathering(Protocol):
    """The shares of one round coming in, in the background, from ``start_gathering`` until ``close``."""

    def close(self, *, timeout_seconds: float, enough_shares: int) -> list[ReceivedShare]:
        """Wait for what is still missing, stop, and hand over what passed every check. Never raises.

        Returns as soon as ``enough_shares`` are here, or every peer known to take part has been dealt with or is far
        later than it usually is, or the time is up; at once when nobody else is known.
        A second call returns what the first one did.
        """
        ...


class Exchange(Protocol):
    """A node's place in the swarm. Safe to call from any thread; nothing that strangers send makes it raise."""

    peer_id: str

    def start_gathering(self, round: int) -> Gathering:
        """Begin to gather the external shares of ``round``. Returns at once; starting a new one ends the one before."""
        ...

    def publish(self, share: Share, *, model_name: str, account: str, mean_reward: float) -> Announcement:
        """Offer this node's share of a round to everyone. Returns at once; the announcement spreads in the background.

        Raises:
            ValueError: the share is another peer's or too large: a mistake of the caller's.
        """
        ...

    def dropped(self) -> Mapping[str, int]:
        """What of others' was dropped since the last call, by reason."""
        ...

    def ways(self) -> Mapping[str, int]:
        """How many shares came which way since the last call: see ``RoundReport.ways``."""
        ...

    def peers(self) -> Sequence[str]:
        """Ids of the peers (this node not among them) seen announcing in the last rounds, newest first."""
        ...

    def close(self) -> None:
        """Leave the swarm, and say so: nobody waits for this peer then. Open gatherings end.

        A second call does nothing.
        """
        ...


class Drops:
    """Counts what was dropped, by reason; written on the exchange's thread, taken on the node's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, reason: str) -> None:
        """Count one more."""
        with self._lock:
            self._counts[reason] += 1

    def take(self) -> dict[str, int]:
        """The counts since the last call, which begin again at 0."""
        with self._lock:
            counts, self._counts = dict(self._counts), Counter()
        return counts


class KnownPeers:
    """Who takes part, from the announcements seen: each peer's newest round and its pace, forgotten after some rounds.

    A peer's pace is how long after the start of a round (as this node saw it) its announcement was here. It rises at
    once and sinks by half the difference, so that one quick round doesn't cut the next, slow one short.
    """

    ROUNDS_REMEMBERED = 2
    """A peer that failed to announce for so many rounds is not waited for any more."""
    SLACK = 1.5
    """A peer is waited for until it takes this many times as long as usual ..."""
    GRACE_SECONDS = 5.0
    """... and this much: an announcement takes seconds to spread, and a quick peer's pace says little."""

    def __init__(self, own_peer_id: str) -> None:
        self.own_peer_id = own_peer_id
        self._newest: dict[str, int] = {}
        self._paces: dict[str, float] = {}

    def seen(self, peer_id: str, round_number: int, *, after_seconds: float | None = None) -> None:
        """Take in that ``peer_id`` announced in this round, ``after_seconds`` after the round began.

        None: it was found out later. Then the peer is there but slower than it was waited for, and its pace is unknown.
        """
        if peer_id == self.own_peer_id or self._newest.get(peer_id, -1) >= round_number:
            return
        # A new dictionary each time: another thread may be reading the old one.
        self._newest = {**self._newest, peer_id: round_number}
        before = self._paces.pop(peer_id, None)
        if after_seconds is not None:
            usual = after_seconds if before is None else (before + after_seconds) / 2
            self._paces[peer_id] = max(after_seconds, usual)

    def left(self, peer_id: str, round_number: int) -> None:
        """Take in a leave notice of ``peer_id`` in this round: it is not waited for until it announces again."""
        if self._newest.get(peer_id, round_number + 1) <= round_number:
            self._newest = {peer: newest for peer, newest in self._newest.items() if peer != peer_id}
            self._paces.pop(peer_id, None)

    def expected(self, round_number: int) -> dict[str, float]:
        """The peers whose share of this round may still come, and how long each is waited for, in seconds since the
        round began (infinity: as long as the round allows). Those silent for too long are forgotten for good.

        A peer that missed the round before has lost half of what it is given; one of unknown pace all of it.
        """
        oldest = round_number - self.ROUNDS_REMEMBERED
        self._newest = {peer: newest for peer, newest in self._newest.items() if newest >= oldest}
        self._paces = {peer: pace for peer, pace in self._paces.items() if peer in self._newest}
        return {
            peer: self._longest_wait(peer, missed=newest < round_number - 1) for peer, newest in self._newest.items()
        }

    def _longest_wait(self, peer_id: str, *, missed: bool) -> float:
        pace = self._paces.get(peer_id)
        if pace is None:
            return 0.0 if missed else math.inf
        return (self.SLACK * pace + self.GRACE_SECONDS) / (2 if missed else 1)

    def newest_first(self) -> list[str]:
        """All remembered peers, those seen in the newest round first."""
        newest = self._newest
        return sorted(newest, key=lambda peer: (-newest[peer], peer))

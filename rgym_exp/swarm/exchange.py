"""How a node hands its shares to the swarm and gets those of others: the Protocols, and what both kinds share."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from rgym_exp.types import Announcement, ReceivedShare, Share


class Gathering(Protocol):
    """The shares of one round coming in, in the background, from ``start_gathering`` until ``close``."""

    def close(self, *, timeout_seconds: float, enough_shares: int) -> list[ReceivedShare]:
        """Wait for what is still missing, stop, and hand over what passed every check. Never raises.

        Returns as soon as ``enough_shares`` are here, or every peer known to take part (it announced in the previous
        round or in this one) has been dealt with, or the time is up; at once when nobody else is known.
        A second call returns what the first one did.
        """
        ...


class Exchange(Protocol):
    """A node's place in the swarm. Safe to call from any thread; nothing that strangers send makes it raise."""

    peer_id: str

    def start_gathering(self, round: int) -> Gathering:
        """Begin to gather the foreign shares of ``round``. Returns at once; starting a new one ends the one before."""
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

    def peers(self) -> Sequence[str]:
        """Ids of the peers (this node not among them) seen announcing in the last rounds, newest first."""
        ...

    def close(self) -> None:
        """Leave the swarm. Open gatherings end; a second call does nothing."""
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
    """Who takes part, from the announcements seen: the newest round of each peer, forgotten after a few rounds."""

    ROUNDS_REMEMBERED = 2
    """A peer that failed to announce for so many rounds is not waited for any more."""

    def __init__(self, own_peer_id: str) -> None:
        self.own_peer_id = own_peer_id
        self._newest: dict[str, int] = {}

    def seen(self, peer_id: str, round_number: int) -> None:
        """Take in that ``peer_id`` announced in this round."""
        if peer_id != self.own_peer_id and self._newest.get(peer_id, -1) < round_number:
            # A new dictionary each time: another thread may be reading the old one.
            self._newest = {**self._newest, peer_id: round_number}

    def expected(self, round_number: int) -> set[str]:
        """The peers whose share of this round may still come; those silent for too long are forgotten for good."""
        oldest = round_number - self.ROUNDS_REMEMBERED
        self._newest = {peer: newest for peer, newest in self._newest.items() if newest >= oldest}
        return set(self._newest)

    def newest_first(self) -> list[str]:
        """All remembered peers, those seen in the newest round first."""
        newest = self._newest
        return sorted(newest, key=lambda peer: (-newest[peer], peer))

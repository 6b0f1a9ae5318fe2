"""How a node hands its shares to the swarm and gets those of others: the Protocols, and what both kinds share."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from rgym_exp.types import Announcement, ReceivedShare, Share, contract_round, interim_count

INTERIM_ROUNDS = "interim-rounds"
"""The capability, in announcements, of peers that train on while the hub is away."""


class Gathering(Protocol):
    """The shares of one round; announcements are collected in the background from ``start_gathering`` to ``close``."""

    def close(
        self, *, timeout_seconds: float, enough_shares: int, swarm_round: int | None = None
    ) -> list[ReceivedShare]:
        """Fetch shares of others, stop, and hand over what passed every check. Never raises.

        Called once this node's own share is published: only now is anything fetched, uniformly from everybody who has
        announced by then and from the late shares of the rounds before. ``swarm_round`` is the round that the swarm is
        at by now, as this node's share was published; None: the gathering's own.

        Returns as soon as ``enough_shares`` are here, or all that is there was dealt with and half of the peers known
        to take part are in it, or those are far later than this node, or half were dealt with and the rest serves too
        slowly, or the time is up; at once when nobody else is known. A second call returns what the first one did.
        """
        ...


class Exchange(Protocol):
    """A node's place in the swarm. Safe to call from any thread; nothing that strangers send makes it raise."""

    peer_id: str

    def start_gathering(self, round: int) -> Gathering:
        """Begin to gather the external shares of ``round``. Returns at once; starting a new one ends the one before."""
        ...

    def publish(
        self, share: Share, *, swarm_round: int, model_name: str, account: str, mean_reward: float
    ) -> Announcement:
        """Offer this node's share of a round to everyone. Returns at once; the announcement spreads in the background.

        ``swarm_round`` is where the swarm is by now: a share that comes late is published under that round.

        Raises:
            ValueError: the share is another peer's or too large: a mistake of the caller's.
        """
        ...

    def dropped(self) -> Mapping[str, int]:
        """What of others' was dropped since the last call, by reason."""
        ...

    def ways(self) -> Mapping[str, str]:
        """Which way each share that came since the last call did: see ``RoundReport.ways``."""
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
    """Who takes part, from the announcements seen: each peer's newest round, forgotten after some rounds."""

    ROUNDS_REMEMBERED = 8
    """A slow peer announces only every so many rounds, and is there all the time."""
    ROUNDS_EXPECTED = 2
    """A peer that did not announce in time for so many rounds is not waited for any more."""

    def __init__(self, own_peer_id: str) -> None:
        self.own_peer_id = own_peer_id
        self._newest: dict[str, int] = {}
        self._in_time: dict[str, int] = {}
        self._plays_on: set[str] = set()
        """Those that train on while the hub is away."""

    def seen(self, announcement: Announcement) -> None:
        """Take in an announcement, or a leave notice: after that its author is gone until it announces again."""
        # Interim rounds count as the contract round that they follow: their numbers are in no order with others.
        peer_id, listed = announcement.peer_id, contract_round(announcement.listed)
        newest = self._newest.get(peer_id, -1)
        if announcement.is_leave_notice:
            if 0 <= newest <= listed:
                self._newest = {peer: seen for peer, seen in self._newest.items() if peer != peer_id}
                self._in_time.pop(peer_id, None)
            return
        if peer_id == self.own_peer_id:
            return
        if INTERIM_ROUNDS in announcement.capabilities:
            self._plays_on.add(peer_id)
        else:
            self._plays_on.discard(peer_id)
        if listed > newest:
            # A new dictionary each time: another thread may be reading the old one.
            self._newest = {**self._newest, peer_id: listed}
        if not announcement.is_late:
            self._in_time[peer_id] = max(self._in_time.get(peer_id, -1), listed)

    def expected(self, round_number: int) -> set[str]:
        """The peers whose share of this round may still come in time. Those silent for too long are forgotten.

        In an interim round none is waited for that has stopped with the hub.
        """
        now = contract_round(round_number)
        # Nor is anybody remembered from far ahead: then the chain was set back.
        near = range(now - self.ROUNDS_REMEMBERED, now + self.ROUNDS_REMEMBERED + 1)
        self._newest = {peer: newest for peer, newest in self._newest.items() if newest in near}
        self._in_time = {
            peer: newest
            for peer, newest in self._in_time.items()
            if newest in near and newest >= now - self.ROUNDS_EXPECTED
        }
        self._plays_on &= self._newest.keys()
        return set(self._in_time) & self._plays_on if interim_count(round_number) else set(self._in_time)

    def newest_first(self) -> list[str]:
        """All remembered peers, those seen in the newest round first."""
        newest = self._newest
        return sorted(newest, key=lambda peer: (-newest[peer], peer))


class SharesDealtWith:
    """The shares that this node has taken in lately, or found to be bad: none of them is fetched again."""

    REMEMBERED = 4096

    def __init__(self) -> None:
        self._shares: dict[tuple[str, str], None] = {}

    def add(self, announcement: Announcement) -> None:
        """Remember one, and forget the oldest when there are too many."""
        self._shares[self._key(announcement)] = None
        if len(self._shares) > self.REMEMBERED:
            del self._shares[next(iter(self._shares))]

    def __contains__(self, announcement: Announcement) -> bool:
        return self._key(announcement) in self._shares

    @staticmethod
    def _key(announcement: Announcement) -> tuple[str, str]:
        # With its author: who announces another's digest and serves nonsense must not make that one's share count.
        return announcement.peer_id, announcement.share_digest

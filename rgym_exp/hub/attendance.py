"""Who announced which round: what the keeper decides by and what ``/status`` shows."""

from __future__ import annotations

from collections.abc import Iterable

from rgym_exp.types import Announcement

ACTIVE_ROUNDS = 3
"""A peer is active when it announced one of this many rounds before the current one."""
MAX_PEERS = 4096
"""More than this many peers are not remembered: identities are free, so a stranger could make any number."""


class Attendance:
    """The newest announcement of each peer, and who announced the last few rounds."""

    def __init__(self) -> None:
        self._newest: dict[str, Announcement] = {}
        self._by_round: dict[int, set[str]] = {}

    def record(self, announcements: Iterable[Announcement]) -> None:
        """Take note of verified announcements; the same one may come any number of times."""
        for announcement in announcements:
            known = self._newest.get(announcement.peer_id)
            if known is None and len(self._newest) >= MAX_PEERS:
                continue
            if known is None or announcement.round >= known.round:
                self._newest[announcement.peer_id] = announcement
            self._by_round.setdefault(announcement.round, set()).add(announcement.peer_id)

    def announced(self, round: int) -> frozenset[str]:
        """Peer ids that announced this round."""
        return frozenset(self._by_round.get(round, ()))

    def missed(self, round: int) -> dict[str, int]:
        """Active peers of this round -> how many rounds running they missed just before it (0 .. ACTIVE_ROUNDS - 1)."""
        missed: dict[str, int] = {}
        for rounds_missed in range(ACTIVE_ROUNDS):
            for peer_id in self._by_round.get(round - 1 - rounds_missed, ()):
                missed.setdefault(peer_id, rounds_missed)
        return missed

    def forget_before(self, round: int) -> None:
        """Drop what no longer counts for this round or a later one."""
        oldest = round - ACTIVE_ROUNDS
        self._by_round = {number: peers for number, peers in self._by_round.items() if number >= oldest}
        self._newest = {peer_id: newest for peer_id, newest in self._newest.items() if newest.round >= oldest}

    def newest(self) -> list[Announcement]:
        """The newest announcement of each peer, latest round first."""
        return sorted(self._newest.values(), key=lambda announcement: (-announcement.round, announcement.peer_id))

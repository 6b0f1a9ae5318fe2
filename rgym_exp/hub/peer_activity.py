"""Who announced which round: what the keeper decides by and what ``/status`` shows."""

from __future__ import annotations

from collections.abc import Iterable

from rgym_exp.types import Announcement

ACTIVE_ROUNDS = 3
"""A peer is active when it announced one of this many rounds before the current one."""
MAX_PEERS = 4096
"""More than this many peers are not remembered: identities are free, so a stranger could make any number."""


class PeerActivity:
    """The newest announcement of each peer, and who announced the last few rounds."""

    def __init__(self) -> None:
        self._newest: dict[str, Announcement] = {}
        self._leave_notices: dict[str, Announcement] = {}
        self._by_round: dict[int, set[str]] = {}

    def record(self, announcements: Iterable[Announcement]) -> None:
        """Take note of verified announcements; the same one may come any number of times."""
        for announcement in announcements:
            peer_id = announcement.peer_id
            known = self._newest.get(peer_id)
            is_known = known is not None or peer_id in self._leave_notices
            if not is_known and len(self._newest) + len(self._leave_notices) >= MAX_PEERS:
                continue
            if announcement.group_count or not announcement.is_leave_notice:
                # It did its part of the round, even if it has left since: without this the round of one that was alone
                # would never end.
                self._by_round.setdefault(announcement.round, set()).add(peer_id)
            if self._is_from_before_leaving(announcement):
                continue
            if announcement.is_leave_notice:
                self._newest.pop(peer_id, None)
                self._leave_notices[peer_id] = announcement
            elif known is None or announcement.round >= known.round:
                self._newest[peer_id] = announcement
                self._leave_notices.pop(peer_id, None)

    def _is_from_before_leaving(self, announcement: Announcement) -> bool:
        """Some of those who keep the DHT still show what a peer published before it left."""
        # A later round counts whatever the peer's clock says.
        notice = self._leave_notices.get(announcement.peer_id)
        return notice is not None and announcement.round <= notice.round and announcement.time <= notice.time

    def announced(self, round: int) -> frozenset[str]:
        """Peer ids that announced this round, also of those that have left since."""
        return frozenset(self._by_round.get(round, ()))

    def missed(self, round: int) -> dict[str, int]:
        """Active peers of this round -> how many rounds running they missed just before it (0 .. ACTIVE_ROUNDS - 1)."""
        missed: dict[str, int] = {}
        for rounds_missed in range(ACTIVE_ROUNDS):
            for peer_id in self._by_round.get(round - 1 - rounds_missed, set()) - self._leave_notices.keys():
                missed.setdefault(peer_id, rounds_missed)
        return missed

    def forget_before(self, round: int) -> None:
        """Drop what no longer counts for this round or a later one."""
        oldest = round - ACTIVE_ROUNDS
        self._by_round = {number: peers for number, peers in self._by_round.items() if number >= oldest}
        self._newest = {peer_id: newest for peer_id, newest in self._newest.items() if newest.round >= oldest}
        self._leave_notices = {peer_id: said for peer_id, said in self._leave_notices.items() if said.round >= oldest}

    def newest(self) -> list[Announcement]:
        """The newest announcement of each peer, latest round first."""
        return sorted(self._newest.values(), key=lambda announcement: (-announcement.round, announcement.peer_id))

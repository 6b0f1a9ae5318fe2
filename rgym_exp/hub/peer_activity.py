"""Who announced which round: what the keeper decides by and what ``/status`` shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rgym_exp.swarm.listing import MAX_ROUNDS_LATE
from rgym_exp.swarm.pace import ActivePeer
from rgym_exp.types import Announcement

ACTIVE_ROUNDS = MAX_ROUNDS_LATE
"""A peer is active when it announced, in time or late, in one of this many rounds before the current one."""
AWAITED_ROUNDS = 3
"""A peer may be waited for when it announced in time in one of this many rounds before the current one."""
MAX_PEERS = 4096
"""More than this many peers are not remembered: identities are free, so a stranger could make any number."""
_MOST_WEIGHT = 1024
"""Rounds attended that count; about three hours. Who came later is no stranger for ever."""


@dataclass(frozen=True, kw_only=True)
class _Attended:
    rounds: int
    last: int
    """The last round that is in it."""


class PeerActivity:
    """The newest announcement of each peer, who announced the last few rounds, and how many it attended before."""

    def __init__(self) -> None:
        self._newest: dict[str, Announcement] = {}
        self._leave_notices: dict[str, Announcement] = {}
        self._in_time: dict[int, set[str]] = {}
        self._late: dict[int, set[str]] = {}
        self._attended: dict[str, _Attended] = {}

    def record(self, announcements: Iterable[Announcement]) -> None:
        """Take note of verified announcements, older rounds first; the same one may come any number of times."""
        for announcement in announcements:
            peer_id = announcement.peer_id
            known = self._newest.get(peer_id)
            is_known = known is not None or peer_id in self._leave_notices
            if not is_known and len(self._newest) + len(self._leave_notices) >= MAX_PEERS:
                continue
            if announcement.group_count or not announcement.is_leave_notice:
                # It did its part of the round, even if it has left since: without this the round of one that was alone
                # would never end.
                self._note(announcement)
            if self._is_from_before_leaving(announcement):
                continue
            if announcement.is_leave_notice:
                self._newest.pop(peer_id, None)
                self._leave_notices[peer_id] = announcement
            elif known is None or announcement.listed >= known.listed:
                self._newest[peer_id] = announcement
                self._leave_notices.pop(peer_id, None)

    def _note(self, announcement: Announcement) -> None:
        peer_id, listed = announcement.peer_id, announcement.listed
        rounds = self._late if announcement.is_late else self._in_time
        rounds.setdefault(listed, set()).add(peer_id)
        before = self._attended.get(peer_id)
        if before is None or listed - before.last > ACTIVE_ROUNDS:
            self._attended[peer_id] = _Attended(rounds=1, last=listed)
        elif listed > before.last:
            # The rounds that went by while a slow peer was at work are attended as well.
            total = min(_MOST_WEIGHT, before.rounds + listed - before.last)
            self._attended[peer_id] = _Attended(rounds=total, last=listed)

    def _is_from_before_leaving(self, announcement: Announcement) -> bool:
        """Some of those who keep the DHT still show what a peer published before it left."""
        # A later round counts whatever the peer's clock says.
        notice = self._leave_notices.get(announcement.peer_id)
        return notice is not None and announcement.listed <= notice.listed and announcement.time <= notice.time

    def announced(self, round: int) -> frozenset[str]:
        """Peer ids that announced this round in time, also of those that have left since."""
        return frozenset(self._in_time.get(round, ()))

    def gone(self) -> frozenset[str]:
        """The peers whose leave notice is the last that was heard of them."""
        return frozenset(self._leave_notices)

    def active(self, round: int) -> dict[str, ActivePeer]:
        """The peers that take part when this round begins, by what they did in the rounds before."""
        before = range(round - ACTIVE_ROUNDS, round)
        in_time = [self._in_time.get(number, set()) for number in before]
        late = [self._late.get(number, set()) for number in before]
        awaited = set().union(*in_time[-AWAITED_ROUNDS:])
        return {
            peer_id: ActivePeer(weight=self._attended[peer_id].rounds, is_awaited=peer_id in awaited)
            for peer_id in set().union(*in_time, *late) - self._leave_notices.keys()
        }

    def give_up(self, peer_ids: Iterable[str]) -> None:
        """Count these peers as gone, until they announce again: the swarm has waited for them as long as it can."""
        gone = set(peer_ids)
        for rounds in (self._in_time, self._late):
            for peers in rounds.values():
                peers -= gone

    def forget_before(self, round: int) -> None:
        """Drop what no longer counts for this round or a later one."""
        oldest = round - ACTIVE_ROUNDS
        for rounds in (self._in_time, self._late):
            for number in [number for number in rounds if number < oldest]:
                del rounds[number]
        self._attended = {peer_id: seen for peer_id, seen in self._attended.items() if seen.last >= oldest}
        self._newest = {peer_id: newest for peer_id, newest in self._newest.items() if newest.listed >= oldest}
        self._leave_notices = {peer_id: said for peer_id, said in self._leave_notices.items() if said.listed >= oldest}

    def newest(self) -> list[Announcement]:
        """The newest announcement of each peer, latest round first."""
        return sorted(self._newest.values(), key=lambda announcement: (-announcement.listed, announcement.peer_id))

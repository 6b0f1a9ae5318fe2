"""A swarm within one process, for tests and simulations: the same bytes and the same checks, without a network."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Mapping, Sequence

from rgym_exp.base.swarm_clock import SwarmClock
from rgym_exp.swarm.exchange import Drops, KnownPeers, SharesDealtWith
from rgym_exp.swarm.listing import place_of, places_before
from rgym_exp.swarm.publishing import leave_notices, prepare
from rgym_exp.swarm.refused import PeerDataRefused
from rgym_exp.swarm.verify import ShareRules, admit, objection_to_announcement
from rgym_exp.types import Announcement, ReceivedShare, Share

_ROUNDS_KEPT = 3


class MemorySwarm:
    """What the peers of one process have offered, by round and peer."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._offers: dict[int, dict[str, tuple[Announcement, bytes]]] = {}

    def offer(self, announcement: Announcement, data: bytes) -> None:
        """Publish an announcement with the bytes that its author would serve, true or not."""
        with self.changed:
            self._offers.setdefault(announcement.listed, {})[announcement.peer_id] = (announcement, data)
            for old in list(self._offers)[:-_ROUNDS_KEPT]:
                del self._offers[old]
            self.changed.notify_all()

    def offers(self, round: int) -> dict[str, tuple[Announcement, bytes]]:
        """A copy of what was offered in a round."""
        with self.changed:
            return dict(self._offers.get(place_of(round), {}))


class MemoryExchange:
    """An ``Exchange`` with the other peers of a ``MemorySwarm``."""

    def __init__(
        self,
        *,
        swarm: MemorySwarm,
        peer_id: str,
        swarm_id: str,
        tasks_digest: str,
        max_slots: int,
        num_generations: int | None,
        max_share_bytes: int = 4 * 1024 * 1024,
        max_text_chars: int = 65_536,
        seed: int = 0,
    ) -> None:
        self.peer_id = peer_id
        self._swarm = swarm
        self._rules = ShareRules(
            swarm_id=swarm_id,
            tasks_digest=tasks_digest,
            max_slots=max_slots,
            num_generations=num_generations,
            max_text_chars=max_text_chars,
            max_share_bytes=max_share_bytes,
        )
        self._known = KnownPeers(peer_id)
        self._dealt_with = SharesDealtWith()
        self._drops = Drops()
        self._rng = random.Random(f"{seed} {peer_id}")
        self._clock = SwarmClock()
        self._round = 0
        self._newest: Announcement | None = None

    def start_gathering(self, round: int) -> MemoryGathering:
        """See ``Exchange``."""
        self._round = round
        for place in places_before(round)[-1:]:
            for announcement, _ in self._swarm.offers(place).values():
                self._known.seen(announcement)
        return MemoryGathering(
            round=round,
            swarm=self._swarm,
            rules=self._rules,
            known=self._known,
            dealt_with=self._dealt_with,
            drops=self._drops,
            rng=self._rng,
        )

    def publish(
        self, share: Share, *, swarm_round: int, model_name: str, account: str, mean_reward: float
    ) -> Announcement:
        """See ``Exchange``."""
        data, announcement = prepare(
            share,
            author=self.peer_id,
            rules=self._rules,
            swarm_round=swarm_round,
            model_name=model_name,
            account=account,
            mean_reward=mean_reward,
            now=self._clock.now(),
        )
        self._newest = announcement
        self._swarm.offer(announcement, data)
        return announcement

    def dropped(self) -> Mapping[str, int]:
        """See ``Exchange``."""
        return self._drops.take()

    def ways(self) -> Mapping[str, str]:
        """See ``Exchange``; nothing has to travel."""
        return {}

    def peers(self) -> Sequence[str]:
        """See ``Exchange``."""
        return self._known.newest_first()

    def close(self) -> None:
        """See ``Exchange``."""
        last, self._newest = self._newest, None
        if last is not None:
            for notice in leave_notices(last, reached=self._round, now=self._clock.now()):
                self._swarm.offer(notice, b"")


class MemoryGathering:
    """See ``Gathering``; it looks only in ``close``, since nothing has to travel."""

    def __init__(
        self,
        *,
        round: int,
        swarm: MemorySwarm,
        rules: ShareRules,
        known: KnownPeers,
        dealt_with: SharesDealtWith,
        drops: Drops,
        rng: random.Random,
    ) -> None:
        self._round = round
        self._swarm = swarm
        self._rules = rules
        self._known = known
        self._dealt_with = dealt_with
        self._drops = drops
        self._rng = rng
        self._settled: set[str] = set()
        self._heard: set[str] = set()
        self._received: list[ReceivedShare] = []
        self._is_closed = False

    def close(
        self, *, timeout_seconds: float, enough_shares: int, swarm_round: int | None = None
    ) -> list[ReceivedShare]:
        """See ``Gathering``."""
        with self._swarm.changed:
            if not self._is_closed:
                place = place_of(self._round if swarm_round is None else swarm_round)
                self._swarm.changed.wait_for(lambda: self._is_complete(place, enough_shares), max(0.0, timeout_seconds))
                self._is_closed = True
        return list(self._received)

    def _is_complete(self, place: int, enough_shares: int) -> bool:
        for listed in (place, *reversed(places_before(place))):
            offers = list(self._swarm.offers(listed).values())
            self._rng.shuffle(offers)
            for announcement, data in offers:
                if len(self._received) < enough_shares:
                    self._take_in(announcement, data, place)
        expected = self._known.expected(place)
        return len(self._received) >= enough_shares or 2 * len(expected & self._settled) >= len(expected)

    def _take_in(self, announcement: Announcement, data: bytes, place: int) -> None:
        peer_id = announcement.peer_id
        if peer_id in self._heard or peer_id == self._known.own_peer_id:
            return
        self._known.seen(announcement)
        is_new = announcement not in self._dealt_with
        if is_new or announcement.listed == place:
            self._settled.add(peer_id)
        if is_new:
            self._heard.add(peer_id)
        if announcement.is_leave_notice or not is_new:
            return
        self._dealt_with.add(announcement)
        objection = objection_to_announcement(announcement, round=announcement.listed, rules=self._rules)
        if objection is None and hashlib.sha256(data).hexdigest() != announcement.share_digest:
            objection = "wrong_digest"
        if objection is not None:
            self._drops.add(objection)
            return
        try:
            self._received.append(admit(data, announcement, self._rules))
        except PeerDataRefused as refusal:
            self._drops.add(refusal.reason)

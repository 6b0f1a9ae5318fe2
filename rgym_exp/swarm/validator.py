"""The guard of our DHT nodes: which records they store, pass on and believe.

The DHT is open to everyone, so what is in it is whatever somebody wrote. A record is kept only if it is an
announcement of this swarm, signed by the peer whose id is its subkey, in the shard where that peer belongs this round.
Of two records of one peer in one place the DHT keeps the one that expires later, and the expiry is not signed. So it is
bound to the time that is: else a stranger could store a peer's former record anew and so keep out the newer one.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable

import msgpack
from hivemind.dht.routing import DHTID
from hivemind.dht.storage import DHTLocalStorage, DictionaryDHTValue
from hivemind.dht.validation import DHTRecord, RecordValidatorBase

from rgym_exp.base.swarm_clock import SwarmClock
from rgym_exp.swarm.announcement import MAX_RECORD_BYTES, SignedAnnouncement, decode_announcement
from rgym_exp.swarm.refused import AnnouncementRejected, OtherVersion
from rgym_exp.swarm.shards import record_key, shard_of
from rgym_exp.swarm.versions import VersionsMet
from rgym_exp.types import Announcement, contract_round

RECORD_LIFETIME_SECONDS = 1800.0
"""How long an announcement stays in the DHT: longer than anybody asks for a round that is over."""
_MAX_LIFETIME_SECONDS = 4 * RECORD_LIFETIME_SECONDS  # what we store for others; the slack is for those without a hub
_FIRST_WITH_BOUND_EXPIRY = 2
"""Records of version 1 expire by the time at which they were published last, which their authors didn't sign."""
_MAX_PEERS_PER_SHARD = 1024
_ROUNDS_BEHIND = 16
_ROUNDS_AHEAD = 1024  # wide: a replica that lags behind must not refuse what the swarm's front needs
_CHECKS_REMEMBERED = 8192


def expiry_of(announcement: Announcement) -> float:
    """When an announcement leaves the DHT, in the swarm's time, however often it is published."""
    return announcement.time + RECORD_LIFETIME_SECONDS


class AnnouncementValidator(RecordValidatorBase):
    """hivemind's hook for records; also the second check, on reading (``announcement_in``).

    ``on_drop(reason)`` is called once for each distinct bad record, however often it comes by.
    """

    def __init__(self, swarm_id: str, on_drop: Callable[[str], None], clock: SwarmClock | None = None) -> None:
        self._swarm_id = swarm_id
        self._on_drop = on_drop
        self._clock = clock or SwarmClock()
        self._versions = VersionsMet()
        self._round: int | None = None
        self._storage: DHTLocalStorage | None = None
        self._checked: OrderedDict[bytes, SignedAnnouncement | str] = OrderedDict()
        self._counted: OrderedDict[bytes, None] = OrderedDict()

    def watch_storage(self, storage: DHTLocalStorage) -> None:
        """Hold the limit on records a shard in this node's own storage."""
        self._storage = storage

    def set_round(self, round_number: int) -> None:
        """Records far from this round are refused from now on; until the first call any round is accepted."""
        self._round = contract_round(round_number)

    def validate(self, record: DHTRecord) -> bool:
        """Whether to store, pass on or believe a record. Never raises."""
        if len(record.value) > MAX_RECORD_BYTES + 8:  # msgpack's header around the record
            return self._refuse(record, "record_too_large")
        try:
            value = msgpack.unpackb(record.value, max_array_len=0, max_map_len=0, max_ext_len=0)
            subkey = msgpack.unpackb(record.subkey, max_array_len=0, max_map_len=0, max_ext_len=0)
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
            return self._refuse(record, "record_malformed")
        if not isinstance(value, bytes) or not isinstance(subkey, str):
            return self._refuse(record, "record_malformed")
        objection = self._objection(value, subkey, record)
        return objection is None or self._refuse(record, objection)

    def announcement_in(self, value: object, *, subkey: object) -> SignedAnnouncement | None:
        """The announcement in a value read from the DHT, checked again; None when it is not one of ``subkey``'s."""
        if not isinstance(value, bytes):
            return None
        checked = self._check(value)
        if isinstance(checked, str) or checked.announcement.peer_id != subkey:
            return None
        return checked

    def _objection(self, value: bytes, subkey: str, record: DHTRecord) -> str | None:
        checked = self._check(value)
        if isinstance(checked, str):
            return checked
        announcement = checked.announcement
        if announcement.peer_id != subkey:
            return "wrong_subkey"
        if announcement.swarm_id != self._swarm_id:
            return "other_swarm"
        shard = shard_of(announcement.peer_id, announcement.listed, checked.level)
        key = record_key(self._swarm_id, announcement.listed, checked.level, shard)
        if DHTID.generate(source=key).to_bytes() != record.key:
            return "wrong_key"
        if not math.isfinite(record.expiration_time):
            return "expiry"
        if record.expiration_time > self._clock.now() + _MAX_LIFETIME_SECONDS:
            return "expiry"
        # No slack for clocks that differ: both are the author's, and any slack is time in which it can be kept silent.
        if announcement.protocol >= _FIRST_WITH_BOUND_EXPIRY and record.expiration_time > expiry_of(announcement):
            return "expiry"
        if self._round is not None and not (
            self._round - _ROUNDS_BEHIND <= contract_round(announcement.listed) <= self._round + _ROUNDS_AHEAD
        ):
            return "stale_round"
        return "shard_full" if self._is_full(record.key, subkey) else None

    def _is_full(self, key: bytes, subkey: str) -> bool:
        entry = self._storage.get(DHTID.from_bytes(key)) if self._storage is not None else None
        if entry is None or not isinstance(entry.value, DictionaryDHTValue):
            return False
        return len(entry.value.data) >= _MAX_PEERS_PER_SHARD and subkey not in entry.value.data

    def _check(self, value: bytes) -> SignedAnnouncement | str:
        # A record comes by many times (replicas, polls), and a signature check is what costs: remember the outcome.
        digest = hashlib.sha256(value).digest()
        known = self._checked.get(digest)
        if known is not None:
            self._checked.move_to_end(digest)
            return known
        outcome: SignedAnnouncement | str
        try:
            outcome = decode_announcement(value)
            self._versions.met(outcome.announcement.protocol)
        except OtherVersion as refusal:
            self._versions.met(refusal.version)
            outcome = refusal.reason
        except AnnouncementRejected as refusal:
            outcome = refusal.reason
        self._checked[digest] = outcome
        if len(self._checked) > _CHECKS_REMEMBERED:
            self._checked.popitem(last=False)
        return outcome

    def _refuse(self, record: DHTRecord, reason: str) -> bool:
        digest = hashlib.sha256(record.key + record.subkey + record.value).digest()
        if digest not in self._counted:
            self._counted[digest] = None
            if len(self._counted) > _CHECKS_REMEMBERED:
                self._counted.popitem(last=False)
            self._on_drop(reason)
        return False

    def keep_valid_entries(self, key: bytes, dictionary: DictionaryDHTValue) -> bool:
        """Remove the bad entries of a shard that a peer sent; whether any are left.

        Takes the place of hivemind's own check, which throws away the whole dictionary for one bad entry: a single
        record at the edge of what two nodes accept (their clocks differ) would then hide a shard from its readers.
        """
        kept = 0
        with dictionary.freeze():
            for subkey, (value, expiration_time) in list(dictionary.items()):
                packed_subkey = msgpack.packb(subkey) if isinstance(subkey, str) else b""
                record = DHTRecord(key, packed_subkey, value if isinstance(value, bytes) else b"", expiration_time)
                if kept < _MAX_PEERS_PER_SHARD and self._is_timed(expiration_time) and self.validate(record):
                    kept += 1
                else:
                    del dictionary[subkey]
        return kept > 0

    @staticmethod
    def _is_timed(expiration_time: object) -> bool:
        return isinstance(expiration_time, (int, float))

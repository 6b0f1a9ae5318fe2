"""The guard of the DHT: which records are stored, passed on and believed."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hivemind.dht.routing import DHTID
from hivemind.dht.storage import DHTLocalStorage, DictionaryDHTValue
from hivemind.dht.validation import DHTRecord
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rgym_exp.swarm import validator as validator_module
from rgym_exp.swarm.announcement import encode_announcement
from rgym_exp.swarm.identity import Identity
from rgym_exp.swarm.shards import record_key, shard_of
from rgym_exp.swarm.validator import RECORD_LIFETIME_SECONDS, AnnouncementValidator, expiry_of
from rgym_exp.types import interim_round
from tests.unit.swarm.swarm_builders import SWARM_ID, make_announcement

ROUND = 3


def key_for(peer_id: str, round: int = ROUND, level: int = 0, swarm_id: str = SWARM_ID) -> bytes:
    return DHTID.generate(source=record_key(swarm_id, round, level, shard_of(peer_id, round, level))).to_bytes()


def record_of(identity: Identity, *, level: int = 0, round: int = ROUND, **changes: Any) -> DHTRecord:
    announcement = make_announcement(identity.peer_id, round, **changes)
    return DHTRecord(
        key=key_for(identity.peer_id, round, level, announcement.swarm_id),
        subkey=msgpack.packb(identity.peer_id),
        value=msgpack.packb(encode_announcement(announcement, identity, level=level)),
        expiration_time=expiry_of(announcement),
    )


def encoded_as_version_1(identity: Identity, **changes: Any) -> bytes:
    """The record of a peer of version 1: without ``listed`` and ``capabilities``."""
    _, level, payload, public_key, _ = msgpack.unpackb(
        encode_announcement(make_announcement(identity.peer_id, ROUND, **changes), identity, level=0)
    )
    payload = msgpack.packb(msgpack.unpackb(payload)[:11])
    signature = identity.sign(b"rl-swarm/announcement/1\n" + bytes([level]) + payload)
    record: bytes = msgpack.packb([1, level, payload, public_key, signature])
    return record


@pytest.fixture
def drops() -> Counter[str]:
    return Counter()


@pytest.fixture
def validator(drops: Counter[str]) -> AnnouncementValidator:
    return AnnouncementValidator(SWARM_ID, lambda reason: drops.update([reason]))


@pytest.mark.parametrize("level", [0, 1, 7])
def test_a_signed_announcement_in_its_own_shard_is_accepted(
    validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity], level: int
) -> None:
    assert validator.validate(record_of(identities[0], level=level))
    assert not drops


def test_an_announcement_under_another_peers_subkey_is_refused(
    validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity]
) -> None:
    record = replace(record_of(identities[0]), subkey=msgpack.packb(identities[1].peer_id))
    assert not validator.validate(record)
    assert drops == {"wrong_subkey": 1}


@pytest.mark.parametrize("place", [{"round": ROUND + 1}, {"level": 1}, {"swarm_id": "other"}])
def test_an_announcement_in_a_place_where_it_does_not_belong_is_refused(
    validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity], place: dict[str, Any]
) -> None:
    record = replace(record_of(identities[0]), key=key_for(identities[0].peer_id, **place))
    assert not validator.validate(record)
    assert drops == {"wrong_key": 1}


def test_an_announcement_of_another_swarm_is_refused(
    validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity]
) -> None:
    assert not validator.validate(record_of(identities[0], swarm_id="other"))
    assert drops == {"other_swarm": 1}


@pytest.mark.parametrize("seconds_from_now", [math.nan, math.inf, 30 * RECORD_LIFETIME_SECONDS])
def test_a_record_that_would_stay_for_ever_is_refused(
    validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity], seconds_from_now: float
) -> None:
    record = replace(record_of(identities[0]), expiration_time=time.time() + seconds_from_now)
    assert not validator.validate(record)
    assert drops == {"expiry": 1}


def test_a_record_may_not_be_made_to_outlive_what_its_author_says_later_in_its_place(
    validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity]
) -> None:
    now = time.time()
    former = record_of(identities[0], time=now - 30.0)
    newer = record_of(identities[0], time=now, round=ROUND)
    assert former.expiration_time < newer.expiration_time  # the later expiry is the one that a DHT keeps
    assert [validator.validate(record) for record in (former, newer)] == [True, True]
    for seconds in (1.0, 30.0, 7200.0 - RECORD_LIFETIME_SECONDS):
        assert not validator.validate(replace(former, expiration_time=former.expiration_time + seconds))
    assert drops == {"expiry": 1}


def test_a_record_of_version_1_is_accepted_whatever_its_authors_clock_says(
    validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity]
) -> None:
    record = replace(
        record_of(identities[0]),
        value=msgpack.packb(encoded_as_version_1(identities[0], time=0.0)),
        expiration_time=time.time() + RECORD_LIFETIME_SECONDS,
    )
    assert validator.validate(record)
    assert not drops


def test_rounds_far_from_ours_are_refused_once_ours_is_known(
    validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity]
) -> None:
    records = [record_of(identities[0], round=round) for round in (10, 1000, 5000)]
    assert [validator.validate(record) for record in records] == [True, True, True]
    validator.set_round(1000)
    assert [validator.validate(record) for record in records] == [False, True, False]
    assert drops == {"stale_round": 2}


class TestInterimRounds:
    """Rounds that are played after a contract round while the hub is away."""

    PLACE = interim_round(ROUND, 1)

    @pytest.mark.parametrize("count", [1, 2, 2**20])
    def test_all_that_follow_one_contract_round_are_kept_at_one_place(
        self, validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity], count: int
    ) -> None:
        record = interim_record(identities[0], ROUND, count)
        assert record.key == key_for(identities[0].peer_id, self.PLACE)
        assert validator.validate(record)
        assert not drops

    @pytest.mark.parametrize("place", [ROUND, interim_round(ROUND, 2), interim_round(ROUND + 1, 1)])
    def test_one_is_refused_at_any_other_place(
        self, validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity], place: int
    ) -> None:
        record = interim_record(identities[0], ROUND, 2)
        assert not validator.validate(replace(record, key=key_for(identities[0].peer_id, place)))
        assert drops == {"wrong_key": 1}

    def test_a_contract_round_is_refused_among_them(
        self, validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity]
    ) -> None:
        record = replace(record_of(identities[0]), key=key_for(identities[0].peer_id, self.PLACE))
        assert not validator.validate(record)
        assert drops == {"wrong_key": 1}

    def test_they_are_as_near_as_the_contract_round_that_they_follow(
        self, validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity]
    ) -> None:
        """However many there were: their numbers are far above all others, and no reason to refuse them."""
        records = [interim_record(identities[0], base, 500) for base in (10, 995, 1000, 1005, 5000)]
        for at in (1000, interim_round(1000, 7)):
            validator.set_round(at)
            assert [validator.validate(record) for record in records] == [False, True, True, True, False]
        assert drops == {"stale_round": 2}

    def test_records_of_the_contracts_rounds_pass_while_they_are_played(
        self, validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity]
    ) -> None:
        """The hub may be there for others, or about to be back."""
        validator.set_round(interim_round(ROUND, 40))
        assert all(validator.validate(record_of(identities[0], round=round)) for round in (ROUND, ROUND + 1))
        assert not drops

    def test_the_newer_of_a_peer_may_take_the_place_of_the_one_before(
        self, validator: AnnouncementValidator, identities: list[Identity]
    ) -> None:
        """Whatever their counts say: a node that lost its checkpoint counts anew."""
        now = time.time()
        storage = DHTLocalStorage()
        before, after = (
            interim_record(identities[0], ROUND, count, time=then) for count, then in ((9, now - 10), (1, now))
        )
        for record in (before, after):
            assert validator.validate(record)
            key, subkey = DHTID.from_bytes(record.key), identities[0].peer_id
            assert storage.store(key, record.value, record.expiration_time, subkey=subkey)
        held = storage.get(DHTID.from_bytes(after.key))
        assert held is not None and isinstance(held.value, DictionaryDHTValue)
        assert [entry.value for entry in held.value.data.values()] == [after.value]


def interim_record(identity: Identity, base: int, count: int, **changes: Any) -> DHTRecord:
    place = interim_round(base, 1)
    record = record_of(identity, round=interim_round(base, count), listed=place, **changes)
    return replace(record, key=key_for(identity.peer_id, place))


@pytest.mark.parametrize("value", [b"", msgpack.packb("text"), msgpack.packb(b"bytes"), b"\xc1", msgpack.packb(None)])
def test_values_that_are_no_record_are_refused(
    validator: AnnouncementValidator, identities: list[Identity], value: bytes
) -> None:
    assert not validator.validate(replace(record_of(identities[0]), value=value))


def test_a_value_without_a_subkey_is_refused(validator: AnnouncementValidator, identities: list[Identity]) -> None:
    assert not validator.validate(replace(record_of(identities[0]), subkey=msgpack.packb(None)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.binary(max_size=40), subkey=st.binary(max_size=60), value=st.binary(max_size=1200), time_=st.floats())
def test_random_records_are_refused_and_never_raise(validator, key, subkey, value, time_) -> None:
    assert not validator.validate(DHTRecord(key, subkey, value, time_))


def test_a_bad_record_that_comes_by_many_times_counts_once(
    validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity]
) -> None:
    record = replace(record_of(identities[0]), subkey=msgpack.packb("QmOther"))
    for _ in range(5):
        validator.validate(record)
    assert drops == {"wrong_subkey": 1}


def test_a_bad_entry_does_not_take_the_good_ones_of_its_shard_with_it(
    validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity]
) -> None:
    shard = DictionaryDHTValue()
    good = record_of(identities[0])
    shard.store(identities[0].peer_id, good.value, good.expiration_time)
    shard.store(identities[1].peer_id, good.value, good.expiration_time)  # a copy under another name
    shard.store(17, b"junk", good.expiration_time + 1)
    shard.store(identities[2].peer_id, good.value, good.expiration_time * 2)
    assert validator.keep_valid_entries(good.key, shard)
    assert set(shard.data) == {identities[0].peer_id}
    assert drops.total() == 3


def test_a_shard_without_a_good_entry_is_refused(validator: AnnouncementValidator, identities: list[Identity]) -> None:
    shard = DictionaryDHTValue()
    shard.store("QmNobody", b"junk", time.time() + 60)
    assert not validator.keep_valid_entries(key_for("QmNobody"), shard)


def test_a_full_shard_takes_no_more_peers(
    validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity]
) -> None:
    storage = DHTLocalStorage()
    record = record_of(identities[0])
    validator.watch_storage(storage)
    for number in range(1024):
        storage.store(DHTID.from_bytes(record.key), b"", record.expiration_time, subkey=f"peer {number}")
    assert not validator.validate(record)
    assert drops == {"shard_full": 1}


def test_a_full_shard_goes_on_taking_what_its_own_peers_say_anew(
    validator: AnnouncementValidator, drops: Counter[str], identities: list[Identity]
) -> None:
    storage = DHTLocalStorage()
    record = record_of(identities[0])
    validator.watch_storage(storage)
    for subkey in (identities[0].peer_id, *(f"peer {number}" for number in range(1023))):
        storage.store(DHTID.from_bytes(record.key), b"", record.expiration_time, subkey=subkey)
    assert validator.validate(record)
    assert not drops


def test_of_a_shard_that_a_peer_sent_no_more_entries_are_kept_than_one_may_have(
    validator: AnnouncementValidator, identities: list[Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validator_module, "_MAX_PEERS_PER_SHARD", 2)
    shard = DictionaryDHTValue()
    for identity in identities[:3]:
        record = record_of(identity)
        shard.store(identity.peer_id, record.value, record.expiration_time)
    assert validator.keep_valid_entries(record.key, shard)
    assert len(shard.data) == 2


def test_what_is_remembered_of_strangers_records_is_bounded(
    validator: AnnouncementValidator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validator_module, "_CHECKS_REMEMBERED", 3)
    for number in range(20):
        value = msgpack.packb(b"no record %d" % number)
        validator.validate(DHTRecord(b"key", msgpack.packb("subkey"), value, time.time()))
        assert len(validator._checked) <= 3 >= len(validator._counted)


def test_what_is_read_is_checked_against_its_subkey_again(
    validator: AnnouncementValidator, identities: list[Identity]
) -> None:
    value = msgpack.unpackb(record_of(identities[0]).value)
    signed = validator.announcement_in(value, subkey=identities[0].peer_id)
    assert signed is not None
    assert signed.announcement == make_announcement(identities[0].peer_id, ROUND)
    assert validator.announcement_in(value, subkey=identities[1].peer_id) is None
    assert validator.announcement_in(value[:-1], subkey=identities[0].peer_id) is None
    assert validator.announcement_in("text", subkey=identities[0].peer_id) is None

"""The announcement's wire format, against hostile bytes."""

from __future__ import annotations

import math
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rgym_exp.swarm.announcement import (
    MAX_CAPABILITIES,
    MAX_CAPABILITY_BYTES,
    MAX_RECORD_BYTES,
    decode_announcement,
    encode_announcement,
)
from rgym_exp.swarm.identity import Identity
from rgym_exp.swarm.listing import MAX_ROUNDS_LATE
from rgym_exp.swarm.publishing import leave_notice
from rgym_exp.swarm.refused import AnnouncementRejected, OtherVersion
from rgym_exp.types import interim_round
from tests.unit.swarm.swarm_builders import make_announcement

_PRINTABLE = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=64)
_QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_QUICK
@given(
    swarm_id=_PRINTABLE,
    round=st.integers(0, 2**39),
    late=st.integers(0, MAX_ROUNDS_LATE),
    level=st.integers(0, 12),
    model_name=_PRINTABLE,
    account=st.sampled_from(["", "0x" + "0f" * 20]),
    mean_reward=st.floats(0, 1),
)
def test_what_is_encoded_is_decoded(identities, level, late, **fields) -> None:
    announcement = make_announcement(identities[0].peer_id, listed=fields["round"] + late, **fields)
    signed = decode_announcement(encode_announcement(announcement, identities[0], level=level))
    assert signed.announcement == announcement
    assert signed.level == level


@pytest.mark.parametrize(
    ("round", "groups"), [pytest.param(3, 2, id="done with it"), pytest.param(4, 0, id="not done")]
)
def test_a_leave_notice_tells_whether_its_author_was_done_with_the_round(
    identities: list[Identity], round: int, groups: int
) -> None:
    notice = leave_notice(make_announcement(identities[0].peer_id, round=3), round=round, now=0.0)
    signed = decode_announcement(encode_announcement(notice, identities[0], level=0))
    assert signed.announcement == notice
    assert (notice.round, notice.group_count, notice.is_leave_notice) == (round, groups, True)


def test_only_a_leave_notice_may_be_without_a_share(identities: list[Identity]) -> None:
    with pytest.raises(ValueError, match="record_malformed"):
        encode_announcement(make_announcement(identities[0].peer_id, share_size=0), identities[0], level=0)


def test_the_largest_announcement_stays_under_a_kilobyte(identities: list[Identity]) -> None:
    announcement = make_announcement(
        identities[0].peer_id,
        swarm_id="s" * 64,
        round=interim_round(2**40 - 1, 2**23 - 1),
        listed=interim_round(2**40 - 1, 1),
        share_size=2**32 - 1,
        group_count=255,
        tasks_digest="d" * 64,
        model_name="m" * 96,
        capabilities=("c" * MAX_CAPABILITY_BYTES,) * MAX_CAPABILITIES,
    )
    assert len(encode_announcement(announcement, identities[0], level=12)) < MAX_RECORD_BYTES == 1024


@_QUICK
@given(data=st.binary(max_size=1200))
def test_random_bytes_are_rejected(data: bytes) -> None:
    with pytest.raises(AnnouncementRejected):
        decode_announcement(data)


@_QUICK
@given(data=st.data())
def test_a_record_changed_in_any_byte_is_rejected(identities, data) -> None:
    record = bytearray(encode_announcement(make_announcement(identities[0].peer_id), identities[0], level=0))
    position = data.draw(st.integers(0, len(record) - 1))
    record[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(AnnouncementRejected):
        decode_announcement(bytes(record))


def test_a_truncated_record_is_rejected(identities: list[Identity]) -> None:
    record = encode_announcement(make_announcement(identities[0].peer_id), identities[0], level=0)
    for length in range(0, len(record), 7):
        with pytest.raises(AnnouncementRejected):
            decode_announcement(record[:length])


def test_a_record_over_the_limit_is_rejected_unread() -> None:
    with pytest.raises(AnnouncementRejected, match="record_too_large"):
        decode_announcement(bytes(MAX_RECORD_BYTES + 1))


def test_a_record_of_another_version_is_told_apart(identities: list[Identity]) -> None:
    with pytest.raises(OtherVersion, match="record_version") as refused:
        decode_announcement(_altered(identities[0], 0, 3))
    assert refused.value.version == 3


def test_the_level_is_signed_too(identities: list[Identity]) -> None:
    with pytest.raises(AnnouncementRejected, match="bad_signature"):
        decode_announcement(_altered(identities[0], 1, 5))


def test_a_signature_that_the_same_key_gave_for_something_else_is_rejected(identities: list[Identity]) -> None:
    record = encode_announcement(make_announcement(identities[0].peer_id), identities[0], level=0)
    _, level, payload, *_ = msgpack.unpackb(record)
    for signed in (payload, bytes([level]) + payload, b"rl-swarm/another/1\n" + bytes([level]) + payload):
        with pytest.raises(AnnouncementRejected, match="bad_signature"):
            decode_announcement(_altered(identities[0], 4, identities[0].sign(signed)))
    whole = b"rl-swarm/announcement/2\n" + bytes([level]) + payload
    assert decode_announcement(_altered(identities[0], 4, identities[0].sign(whole))).level == level


def test_a_record_signed_by_another_key_is_rejected(identities: list[Identity]) -> None:
    with pytest.raises(AnnouncementRejected, match="bad_signature"):
        decode_announcement(_altered(identities[0], 3, identities[1].public_key))


@pytest.mark.parametrize(
    "changes",
    [
        {"model_name": "nice\x1b[2Jname"},
        {"model_name": "m" * 97},
        {"swarm_id": "two\nlines"},
        {"mean_reward": math.nan},
        {"mean_reward": math.inf},
        {"time": math.nan},
        {"round": -1},
        {"share_size": 0},
        {"group_count": 256},
        {"account": "0x1234"},
        {"share_digest": "abcd"},
    ],
)
def test_a_field_that_receivers_refuse_is_refused_before_sending(
    identities: list[Identity], changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="Receivers would refuse"):
        encode_announcement(make_announcement(identities[0].peer_id, **changes), identities[0], level=0)


def test_nobody_announces_in_anothers_name(identities: list[Identity]) -> None:
    with pytest.raises(ValueError, match="in the name of"):
        encode_announcement(make_announcement(identities[1].peer_id), identities[0], level=0)


def _altered(identity: Identity, index: int, value: object) -> bytes:
    fields = msgpack.unpackb(encode_announcement(make_announcement(identity.peer_id), identity, level=0))
    fields[index] = value
    return msgpack.packb(fields)

"""The announcement as it travels: a signed msgpack record of under 1 KB.

``[version, level, payload, public key, signature]``, where the payload is the announcement's fields and the signature
covers a domain line, the level and the payload. The author's peer id is not sent: it is the hash of the public key,
so a record can't claim another's.

Records of version 1 (without ``listed`` and ``capabilities``) are still read; its peers can't read ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard, cast

import msgpack

from rgym_exp.swarm.identity import Identity, peer_id_of, signature_is_valid
from rgym_exp.swarm.listing import is_listed_rightly
from rgym_exp.swarm.refused import AnnouncementRejected, OtherVersion
from rgym_exp.swarm.shards import MAX_LEVEL
from rgym_exp.types import MAX_SWARM_ID_BYTES, PROTOCOL, Announcement

MAX_RECORD_BYTES = 1024

MAX_DIGEST_BYTES = 64
MAX_MODEL_NAME_BYTES = 96
MAX_CAPABILITIES = 4
MAX_CAPABILITY_BYTES = 16
_FIELDS = {1: 11, 2: 13}
"""Versions that are read -> how many fields their payload has."""
_PUBLIC_KEY_BYTES = 294
_SIGNATURE_BYTES = 256


@dataclass(frozen=True, kw_only=True)
class SignedAnnouncement:
    """An announcement whose signature was checked, with the shard level that its author chose."""

    announcement: Announcement
    level: int


def encode_announcement(announcement: Announcement, identity: Identity, *, level: int) -> bytes:
    """Sign and pack an announcement of this node's own.

    Raises:
        ValueError: the announcement is another peer's, or a field is outside what receivers accept.
    """
    if announcement.peer_id != identity.peer_id:
        raise ValueError(f"Peer {identity.peer_id} can't announce in the name of {announcement.peer_id}.")
    payload = msgpack.packb(
        [
            announcement.swarm_id,
            announcement.round,
            bytes.fromhex(announcement.share_digest),
            announcement.share_size,
            announcement.group_count,
            announcement.tasks_digest,
            announcement.model_name,
            bytes.fromhex(announcement.account.removeprefix("0x")),
            announcement.mean_reward,
            announcement.time,
            announcement.is_leave_notice,
            announcement.listed,
            list(announcement.capabilities),
        ]
    )
    signature = identity.sign(_signed_bytes(PROTOCOL, level, payload))
    record: bytes = msgpack.packb([PROTOCOL, level, payload, identity.public_key, signature])
    try:
        decode_announcement(record)
    except AnnouncementRejected as refusal:
        raise ValueError(f"Receivers would refuse this announcement ({refusal.reason}): {announcement}") from refusal
    return record


def decode_announcement(record: bytes) -> SignedAnnouncement:
    """Unpack a record and check its signature.

    Raises:
        OtherVersion: it is of a version that this node doesn't read (reason ``record_version``).
        AnnouncementRejected: with one of the reasons ``record_too_large``, ``record_malformed``, ``bad_signature``.
    """
    if len(record) > MAX_RECORD_BYTES:
        raise AnnouncementRejected("record_too_large")
    outer = _unpack_list(record)
    if len(outer) != 5:
        raise AnnouncementRejected("record_malformed")
    version, level, payload, public_key, signature = outer
    if not _is_int(version, 1, 2**15):
        raise AnnouncementRejected("record_malformed")
    if version not in _FIELDS:
        raise OtherVersion(version)
    if not (
        _is_int(level, 0, MAX_LEVEL)
        and isinstance(payload, bytes)
        and isinstance(public_key, bytes)
        and len(public_key) == _PUBLIC_KEY_BYTES
        and isinstance(signature, bytes)
        and len(signature) == _SIGNATURE_BYTES
    ):
        raise AnnouncementRejected("record_malformed")
    fields = _unpack_list(payload)
    announcement = _announcement_from(fields, version, peer_id=peer_id_of(public_key))
    if not signature_is_valid(public_key, signature, _signed_bytes(version, level, payload)):
        raise AnnouncementRejected("bad_signature")
    return SignedAnnouncement(announcement=announcement, level=level)


def _signed_bytes(version: int, level: int, payload: bytes) -> bytes:
    return f"rl-swarm/announcement/{version}\n".encode() + bytes([level]) + payload


def _announcement_from(fields: list[object], version: int, *, peer_id: str) -> Announcement:
    if len(fields) != _FIELDS[version]:
        raise AnnouncementRejected("record_malformed")
    swarm_id, round_number, digest, size, group_count, tasks_digest, model_name, *rest = fields
    account, mean_reward, time, is_leave_notice, *added = rest
    listed, capabilities = added or (round_number, [])
    if not (
        _is_text(swarm_id, MAX_SWARM_ID_BYTES)
        and _is_int(round_number, 0, 2**63 - 1)
        and isinstance(digest, bytes)
        and len(digest) == 32
        and _is_int(size, 0 if is_leave_notice is True else 1, 2**32 - 1)
        and _is_int(group_count, 0, 255)
        and _is_text(tasks_digest, MAX_DIGEST_BYTES)
        and _is_text(model_name, MAX_MODEL_NAME_BYTES)
        and isinstance(account, bytes)
        and len(account) in (0, 20)
        and _is_finite(mean_reward)
        and _is_finite(time)
        and isinstance(is_leave_notice, bool)
        and _is_int(listed, 0, 2**63 - 1)
        and is_listed_rightly(round_number, listed)
        and isinstance(capabilities, list)
        and len(capabilities) <= MAX_CAPABILITIES
        and all(_is_text(capability, MAX_CAPABILITY_BYTES) for capability in capabilities)
    ):
        raise AnnouncementRejected("record_malformed")
    return Announcement(
        swarm_id=swarm_id,
        round=round_number,
        listed=listed,
        peer_id=peer_id,
        share_digest=digest.hex(),
        share_size=size,
        group_count=group_count,
        tasks_digest=tasks_digest,
        model_name=model_name,
        account=f"0x{account.hex()}" if account else "",
        mean_reward=float(mean_reward),
        time=float(time),
        is_leave_notice=is_leave_notice,
        protocol=version,
        capabilities=tuple(cast("list[str]", capabilities)),
    )


def _unpack_list(data: bytes) -> list[object]:
    try:
        value = msgpack.unpackb(data, max_array_len=16, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        raise AnnouncementRejected("record_malformed") from None
    if not isinstance(value, list):
        raise AnnouncementRejected("record_malformed")
    return value


def _is_int(value: object, low: int, high: int) -> TypeGuard[int]:
    return isinstance(value, int) and type(value) is not bool and low <= value <= high


def _is_text(value: object, max_bytes: int) -> TypeGuard[str]:
    # Names end up on people's terminals: nothing unprintable (escape sequences, line breaks) gets that far.
    return isinstance(value, str) and value.isprintable() and len(value.encode()) <= max_bytes


def _is_finite(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and type(value) is not bool and abs(value) < 1e15  # NaN compares False

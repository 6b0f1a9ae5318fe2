"""The share's wire format, against hostile bytes."""

from __future__ import annotations

import math
import tracemalloc

import msgpack
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rgym_exp.swarm.refused import ShareRejected
from rgym_exp.swarm.share import ShareLimits, decode_share, encode_share
from rgym_exp.types import Completion, Share, SharedGroup
from tests.unit.swarm.swarm_builders import make_share

_LIMITS = ShareLimits(
    max_bytes=100_000, max_unpacked_bytes=200_000, max_groups=8, max_completions=8, max_text_chars=1000
)
_QUICK = settings(max_examples=60, deadline=None)
_COMPLETIONS = st.builds(
    Completion,
    text=st.text(max_size=200),
    ended=st.booleans(),
    mean_logprob=st.none() | st.floats(max_value=0, allow_nan=False, allow_infinity=False),
)
_GROUPS = st.builds(SharedGroup, slot=st.integers(0, 2**31), completions=st.lists(_COMPLETIONS, max_size=8).map(tuple))
_SHARES = st.builds(
    Share,
    swarm_id=st.text(max_size=64),
    round=st.integers(0, 2**62),
    peer_id=st.text(max_size=64),
    tasks_digest=st.text(max_size=64),
    groups=st.lists(_GROUPS, max_size=8).map(tuple),
)


@_QUICK
@given(share=_SHARES)
def test_what_is_encoded_is_decoded(share: Share) -> None:
    assert decode_share(encode_share(share), _LIMITS) == share


def test_token_ids_are_not_sent() -> None:
    completion = Completion(text="x", ended=True, token_ids=(1, 2), mean_logprob=-1.0)
    share = make_share("peer", 0, groups=(SharedGroup(slot=0, completions=(completion,)),))
    (group,) = decode_share(encode_share(share), _LIMITS).groups
    assert group.completions == (Completion(text="x", ended=True, mean_logprob=-1.0),)


@pytest.mark.parametrize(("logprob", "sent"), [(math.nan, None), (-math.inf, None), (1e-7, 0.0), (-2.0, -2.0)])
def test_a_log_prob_that_receivers_would_refuse_is_tidied_by_the_sender(logprob: float, sent: float | None) -> None:
    completion = Completion(text="x", ended=True, mean_logprob=logprob)
    share = make_share("peer", 0, groups=(SharedGroup(slot=0, completions=(completion,)),))
    assert decode_share(encode_share(share), _LIMITS).groups[0].completions[0].mean_logprob == sent


@_QUICK
@given(data=st.binary(max_size=2000))
def test_random_bytes_are_rejected(data: bytes) -> None:
    with pytest.raises(ShareRejected):
        decode_share(data, _LIMITS)


@_QUICK
@given(packed=st.binary(max_size=2000))
def test_random_bytes_in_a_sound_frame_are_rejected(packed: bytes) -> None:
    with pytest.raises(ShareRejected):
        decode_share(_frame(packed), _LIMITS)


_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=30,
)


@_QUICK
@given(fields=st.lists(_JUNK, min_size=5, max_size=7))
def test_well_formed_nonsense_is_rejected(fields: list[object]) -> None:
    with pytest.raises(ShareRejected):
        decode_share(_frame(msgpack.packb(fields)), _LIMITS)


@_QUICK
@given(share=_SHARES, data=st.data())
def test_a_share_changed_in_any_byte_is_rejected_or_still_a_share(share: Share, data: st.DataObject) -> None:
    encoded = bytearray(encode_share(share))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    assert _decoded_or_rejected(bytes(encoded))


@_QUICK
@given(share=_SHARES, cut=st.floats(0, 0.99))
def test_a_truncated_share_is_rejected(share: Share, cut: float) -> None:
    encoded = encode_share(share)
    with pytest.raises(ShareRejected):
        decode_share(encoded[: int(cut * len(encoded))], _LIMITS)


def test_a_share_over_the_byte_limit_is_rejected_unread() -> None:
    with pytest.raises(ShareRejected, match="share_too_large"):
        decode_share(bytes(_LIMITS.max_bytes + 1), _LIMITS)


def test_a_decompression_bomb_is_cut_off() -> None:
    bomb = _frame(bytes(300_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(ShareRejected, match="share_too_large"):
        decode_share(bomb, _LIMITS)


@pytest.mark.parametrize("window_log", [24, 29])
def test_a_frame_that_claims_a_huge_window_is_rejected(window_log: int) -> None:
    # With a 512 MB window the decompressor would reserve as much before the first byte comes out; 16 MB are twice what
    # a share needs.
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, write_content_size=0)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = msgpack.packb([1, "s", 0, "p", "t", []])
    with pytest.raises(ShareRejected):
        decode_share(compressor.compress(packed) + compressor.flush(), _LIMITS)


@pytest.mark.parametrize("field", [1, 3, 4])
def test_a_name_longer_than_any_is_rejected(field: int) -> None:
    fields: list[object] = [1, "s", 0, "p", "t", []]
    fields[field] = "x" * 128
    assert decode_share(_frame(msgpack.packb(fields)), _LIMITS).groups == ()
    fields[field] = "x" * 129
    with pytest.raises(ShareRejected, match="share_malformed"):
        decode_share(_frame(msgpack.packb(fields)), _LIMITS)


@pytest.mark.parametrize(
    "packed",
    [
        b"\x97" * 400 + b"\xc0",  # lists nested 400 deep
        b"\x98" + (b"\x98" + b"\x90" * 8) * 8,  # many lists side by side
        b"\xdd\xff\xff\xff\xff",  # a list that claims four billion entries
        b"\xdb\xff\xff\xff\xff",  # a text that claims four gigabytes
        b"\x81\xa1a\x01",  # a map
        b"\xd4\x01\x00",  # an extension type
    ],
)
def test_a_structure_bomb_is_rejected(packed: bytes) -> None:
    with pytest.raises(ShareRejected, match="share_malformed"):
        decode_share(_frame(packed), _LIMITS)


def test_many_small_lists_are_refused_before_they_take_memory() -> None:
    # Eight in each of eight, five levels deep: 37,449 bytes sent and 37,449 lists, some three megabytes of them.
    packed = b"\x90"
    for _ in range(5):
        packed = b"\x98" + packed * 8
    framed = _frame(packed)
    tracemalloc.start()
    try:
        with pytest.raises(ShareRejected, match="share_malformed"):
            decode_share(framed, _LIMITS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000


def test_a_share_at_every_limit_is_taken() -> None:
    groups: list[object] = [[slot, ["a"] * 8, [True] * 8, [None] * 8] for slot in range(8)]
    packed = msgpack.packb([1, "s", 0, "p", "t", groups])
    assert len(decode_share(_frame(packed), _LIMITS).groups) == 8


@pytest.mark.parametrize(
    "group",
    [
        [0, ["a"], [True], [-1]],  # an integer log-prob
        [0, ["a"], [1], [None]],  # an integer flag
        [True, ["a"], [True], [None]],  # a boolean slot
        [0, ["a", "b"], [True], [None]],  # columns of different lengths
        [0, ["a" * 1001], [True], [None]],  # a text too long
        [0, ["a"] * 9, [True] * 9, [None] * 9],  # too many completions
        [0, [b"a"], [True], [None]],  # bytes for text
        [0, ["a"], [True]],  # a column missing
    ],
)
def test_a_group_outside_the_limits_is_rejected(group: list[object]) -> None:
    with pytest.raises(ShareRejected, match="share_malformed"):
        decode_share(_frame(msgpack.packb([1, "s", 0, "p", "t", [group]])), _LIMITS)


def test_too_many_groups_are_rejected() -> None:
    with pytest.raises(ShareRejected, match="share_malformed"):
        decode_share(encode_share(make_share("peer", 0, group_count=9)), _LIMITS)


def test_another_version_is_told_apart() -> None:
    with pytest.raises(ShareRejected, match="share_version"):
        decode_share(_frame(msgpack.packb([2, "s", 0, "p", "t", []])), _LIMITS)


def _frame(packed: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(packed)


def _decoded_or_rejected(data: bytes) -> bool:
    try:
        return isinstance(decode_share(data, _LIMITS), Share)
    except ShareRejected:
        return True

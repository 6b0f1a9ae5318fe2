"""A share as it travels: msgpack in zstd, flat enough to be checked while it is parsed.

``[version, swarm id, round, peer id, tasks digest, [[slot, [text], [ended], [mean log-prob or nil]], ...]]``.
Decoding holds every limit *before* the memory is spent: bytes, unpacked bytes (a decompression bomb is cut off),
number and length of lists, length of texts. No maps, no extension types, no code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgpack
import zstandard

from rgym_exp.swarm.refused import ShareRejected
from rgym_exp.types import MAX_GROUP_COMPLETIONS, Completion, Share, SharedGroup

_VERSION = 1
_LEVEL = 3
_MAX_WINDOW_BYTES = 8 * 1024 * 1024
_MAX_ID_CHARS = 128


@dataclass(frozen=True, kw_only=True)
class ShareLimits:
    """What a receiver is willing to parse."""

    max_bytes: int = 4 * 1024 * 1024
    """As sent."""
    max_unpacked_bytes: int = 8 * 1024 * 1024
    max_groups: int = 64
    max_completions: int = MAX_GROUP_COMPLETIONS
    """Per group."""
    max_text_chars: int = 65_536
    """Per completion."""


def encode_share(share: Share) -> bytes:
    """Pack a share. Token ids stay here; log-probs that receivers would refuse (not finite, above 0) become nil."""
    groups = [
        [
            group.slot,
            [completion.text for completion in group.completions],
            [completion.ended for completion in group.completions],
            [_tidy_logprob(completion.mean_logprob) for completion in group.completions],
        ]
        for group in share.groups
    ]
    fields = [_VERSION, share.swarm_id, share.round, share.peer_id, share.tasks_digest, groups]
    packed: bytes = msgpack.packb(fields, unicode_errors="replace")  # a decoder may leave a lone surrogate
    return zstandard.ZstdCompressor(level=_LEVEL).compress(packed)


def decode_share(data: bytes, limits: ShareLimits) -> Share:
    """Unpack a share of somebody else's.

    Raises:
        ShareRejected: with one of the reasons ``share_too_large``, ``share_malformed``, ``share_version``.
    """
    if len(data) > limits.max_bytes:
        raise ShareRejected("share_too_large")
    fields = _unpack(_decompress(data, limits.max_unpacked_bytes), limits)
    if not isinstance(fields, list) or len(fields) != 6:
        raise ShareRejected("share_malformed")
    version, swarm_id, round_number, peer_id, tasks_digest, groups = fields
    if version != _VERSION:
        raise ShareRejected("share_version")
    if not (
        all(isinstance(text, str) and len(text) <= _MAX_ID_CHARS for text in (swarm_id, peer_id, tasks_digest))
        and type(round_number) is int
        and isinstance(groups, list)
        and len(groups) <= limits.max_groups
    ):
        raise ShareRejected("share_malformed")
    return Share(
        swarm_id=swarm_id,
        round=round_number,
        peer_id=peer_id,
        tasks_digest=tasks_digest,
        groups=tuple(_group_from(group, limits) for group in groups),
    )


def _group_from(fields: object, limits: ShareLimits) -> SharedGroup:
    if not isinstance(fields, list) or len(fields) != 4 or type(fields[0]) is not int:
        raise ShareRejected("share_malformed")
    slot, *columns = fields
    if not all(isinstance(column, list) and len(column) <= limits.max_completions for column in columns):
        raise ShareRejected("share_malformed")
    texts, ended, logprobs = columns
    if not len(texts) == len(ended) == len(logprobs):
        raise ShareRejected("share_malformed")
    return SharedGroup(
        slot=slot,
        completions=tuple(_completion_from(*row, limits=limits) for row in zip(texts, ended, logprobs, strict=True)),
    )


def _completion_from(text: object, ended: object, logprob: object, *, limits: ShareLimits) -> Completion:
    if not isinstance(text, str) or len(text) > limits.max_text_chars or type(ended) is not bool:
        raise ShareRejected("share_malformed")
    if logprob is not None and type(logprob) is not float:
        raise ShareRejected("share_malformed")
    return Completion(text=text, ended=ended, mean_logprob=logprob)


def _tidy_logprob(logprob: float | None) -> float | None:
    return min(0.0, float(logprob)) if logprob is not None and math.isfinite(logprob) else None


def _decompress(data: bytes, max_unpacked_bytes: int) -> bytes:
    # Reading one byte past the limit tells a bomb from a full-sized share; the size that the frame claims is not used.
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    try:
        with decompressor.stream_reader(data) as reader:
            unpacked: bytes = reader.read(max_unpacked_bytes + 1)
    except (zstandard.ZstdError, ValueError, MemoryError):
        raise ShareRejected("share_malformed") from None
    if len(unpacked) > max_unpacked_bytes:
        raise ShareRejected("share_too_large")
    return unpacked


def _unpack(data: bytes, limits: ShareLimits) -> object:
    # Empty lists cost one byte sent and 56 in memory, so lists are counted as they close: 4 a group, 2 around them.
    lists_left = 4 * limits.max_groups + 2

    def count(values: list[object]) -> list[object]:
        nonlocal lists_left
        lists_left -= 1
        if lists_left < 0:
            raise ShareRejected("share_malformed")
        return values

    try:
        return msgpack.unpackb(
            data,
            list_hook=count,
            max_array_len=max(6, limits.max_groups, limits.max_completions),
            max_str_len=4 * limits.max_text_chars,
            max_bin_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        raise ShareRejected("share_malformed") from None

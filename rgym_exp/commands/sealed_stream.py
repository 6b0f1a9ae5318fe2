"""Encrypting more than fits into memory: a stream in chunks, each sealed with AES-256-GCM.

A chunk's nonce holds the stream's own seven bytes, whether it is the last, and its number, so chunks can be neither
left out, cut off, repeated nor reordered (the STREAM construction, as ``age`` and Tink use it).
"""

from __future__ import annotations

import io
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX_BYTES = 7
CHUNK_BYTES = 1024 * 1024
_TAG_BYTES = 16


class SealedStreamError(ValueError):
    """A chunk doesn't open: a wrong key, or a stream that was changed or cut short."""


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + bytes([last]) + number.to_bytes(4, "big")


class Sealing(io.RawIOBase):
    """A file to write into; ``finish`` must come last, or the stream counts as cut short."""

    def __init__(self, target: BinaryIO, cipher: AESGCM, *, prefix: bytes, authenticated: bytes) -> None:
        self._target = target
        self._cipher = cipher
        self._prefix = prefix
        self._authenticated = authenticated
        self._number = 0
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        """Take all of ``data``. Raises OSError."""
        self._waiting += data
        # One byte more must wait: the last chunk is sealed as such.
        while len(self._waiting) > CHUNK_BYTES:
            self._seal(bytes(self._waiting[:CHUNK_BYTES]), last=False)
            del self._waiting[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        """Write the last chunk. Raises OSError."""
        self._seal(bytes(self._waiting), last=True)

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        nonce = _nonce(self._prefix, self._number, last=last)
        self._target.write(self._cipher.encrypt(nonce, chunk, self._authenticated))
        self._number += 1


class Opening(io.RawIOBase):
    """A file to read from. ``drain`` to the end before anything that was read is believed to be all."""

    def __init__(self, source: BinaryIO, cipher: AESGCM, *, prefix: bytes, authenticated: bytes) -> None:
        self._source = source
        self._cipher = cipher
        self._prefix = prefix
        self._authenticated = authenticated
        self._number = 0
        self._open = b""
        self._is_over = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer only at the end. Raises OSError and SealedStreamError."""
        while not self._is_over and (size < 0 or len(self._open) < size):
            self._open += self._next()
        size = len(self._open) if size < 0 else size
        taken, self._open = self._open[:size], self._open[size:]
        return taken

    def drain(self) -> None:
        """Read on to the end. Raises SealedStreamError when the stream was cut short."""
        while self.read(CHUNK_BYTES):
            pass

    def _next(self) -> bytes:
        sealed = self._source.read(CHUNK_BYTES + _TAG_BYTES)
        # A full chunk may be the last as well.
        for last in (False, True) if len(sealed) == CHUNK_BYTES + _TAG_BYTES else (True,):
            try:
                chunk = self._cipher.decrypt(_nonce(self._prefix, self._number, last=last), sealed, self._authenticated)
            except InvalidTag:
                continue
            self._number += 1
            self._is_over = last
            return chunk
        raise SealedStreamError(f"its part {self._number + 1} doesn't open")

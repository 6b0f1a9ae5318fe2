"""A share on its way through a bootnode: it goes out to those who asked while it still comes in from its author."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from hivemind.p2p import PeerID

from rgym_exp.swarm.refused import FetchFailed

_CHUNK_BYTES = 1 << 16

Fetch = Callable[[PeerID, bytes, Callable[[int, bytes], None]], Awaitable[None]]
"""Of an author, the share with a digest: gives ``take(size, chunk)`` what comes in. Raises FetchFailed."""


class ShareInTransit:
    """One share; any number of readers, each at its own pace."""

    def __init__(self) -> None:
        self.size: int | None = None
        """Bytes, as soon as the author has said so."""
        self._data = bytearray()
        self._failure: str | None = None
        self._news = asyncio.Event()

    def take(self, size: int, chunk: bytes) -> None:
        """The next bytes of a share of ``size`` bytes came in."""
        self.size = size
        self._data += chunk
        self._tell()

    def fail(self, reason: str) -> None:
        """No more will come."""
        self._failure = reason
        self._tell()

    async def begun(self) -> int:
        """The share's size, when the author has begun to send it.

        Raises:
            FetchFailed: it never did.
        """
        while self.size is None:
            if self._failure is not None:
                raise FetchFailed(self._failure)
            await self._news.wait()
        return self.size

    async def chunks(self) -> AsyncIterator[bytes]:
        """All bytes from the first on, as they come in, in pieces that a slow reader's buffer may hold.

        Raises:
            FetchFailed: the author broke off.
        """
        sent, size = 0, await self.begun()
        while sent < size:
            if sent < len(self._data):
                chunk = bytes(self._data[sent : sent + _CHUNK_BYTES])
                sent += len(chunk)
                yield chunk
            elif self._failure is not None:
                raise FetchFailed(self._failure)
            else:
                await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class KeptShares:
    """Shares that were passed on lately, for the others who ask for them: up to so many bytes, the latest used last."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._shares: OrderedDict[bytes, ShareInTransit] = OrderedDict()
        self._bytes = 0

    def get(self, digest: bytes) -> ShareInTransit | None:
        """The share with this digest, if it is still kept."""
        if digest in self._shares:
            self._shares.move_to_end(digest)
        return self._shares.get(digest)

    def put(self, digest: bytes, share: ShareInTransit) -> None:
        """Keep a complete share, and forget those that were asked for longest ago."""
        if digest in self._shares:
            return
        self._shares[digest] = share
        self._bytes += share.size or 0
        while self._bytes > self._max_bytes:
            self._bytes -= self._shares.popitem(last=False)[1].size or 0


class SharesInTransit:
    """The shares that somebody is being answered with: each fetched once, and only as long as one who asked is there.

    A slow author or a slow reader keeps a share in memory, so all of them together have so many bytes.
    """

    def __init__(
        self, fetch: Fetch, *, fetch_seconds: float, max_bytes: int, household_bytes: int, kept_bytes: int
    ) -> None:
        """``household_bytes`` bounds the shares that one household is being answered with, ``max_bytes`` all."""
        self._fetch, self._fetch_seconds = fetch, fetch_seconds
        self._max_bytes, self._household_bytes = max_bytes, household_bytes
        self._kept = KeptShares(kept_bytes)
        self._coming: dict[tuple[PeerID, bytes], tuple[ShareInTransit, asyncio.Task[None]]] = {}
        self._readers: dict[ShareInTransit, Counter[str]] = {}

    @property
    def held_bytes(self) -> int:
        """Of the shares that have readers, as far as their authors have said it."""
        return sum(share.size or 0 for share in self._readers)

    def has_room_for(self, household: str) -> bool:
        """Whether what is passed on to this household, and to all, is within the limits."""
        held = sum(share.size or 0 for share, readers in self._readers.items() if household in readers)
        return held <= self._household_bytes and self.held_bytes <= self._max_bytes

    @contextmanager
    def one(self, author: PeerID, digest: bytes, household: str) -> Iterator[ShareInTransit]:
        """The share that is kept, or comes in already for somebody else, or is asked for now; to be read within."""
        share = self._kept.get(digest) or self._coming_in(author, digest)
        readers = self._readers.setdefault(share, Counter())
        readers[household] += 1
        try:
            yield share
        finally:
            readers[household] -= 1
            if not readers[household]:
                del readers[household]
            if not readers:
                del self._readers[share]
                task = self._forget(author, digest, share)
                if task is not None:
                    task.cancel()

    def _coming_in(self, author: PeerID, digest: bytes) -> ShareInTransit:
        key = (author, digest)
        if key not in self._coming:
            share = ShareInTransit()
            self._coming[key] = (share, asyncio.ensure_future(self._bring(author, digest, share)))
        return self._coming[key][0]

    def _forget(self, author: PeerID, digest: bytes, share: ShareInTransit) -> asyncio.Task[None] | None:
        """Have nobody else meet this share, though another may ask for the same; what still brings it in."""
        coming = self._coming.get((author, digest))
        if coming is None or coming[0] is not share:
            return None
        return self._coming.pop((author, digest))[1]

    async def _bring(self, author: PeerID, digest: bytes, share: ShareInTransit) -> None:
        def take(size: int, chunk: bytes) -> None:
            if share.size is None and self.held_bytes + size > self._max_bytes:
                raise FetchFailed("fetch_busy")
            share.take(size, chunk)

        try:
            async with asyncio.timeout(self._fetch_seconds):
                await self._fetch(author, digest, take)
            self._kept.put(digest, share)
        except (FetchFailed, TimeoutError) as failure:
            share.fail(failure.reason if isinstance(failure, FetchFailed) else "fetch_timeout")
        self._forget(author, digest, share)

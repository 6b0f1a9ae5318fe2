"""A share on its way through a bootnode: it goes out to those who asked while it still comes in from its author."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator

from rgym_exp.swarm.refused import FetchFailed


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
        """All bytes from the first on, as they come in.

        Raises:
            FetchFailed: the author broke off.
        """
        sent, size = 0, await self.begun()
        while sent < size:
            if sent < len(self._data):
                chunk = bytes(memoryview(self._data)[sent:])
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

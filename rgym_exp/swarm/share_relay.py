"""What a bootnode does for peers that can't reach each other: it fetches a share from its author and passes it on.

Two homes behind routers each keep a connection to the bootnode, which works both ways. Asked on
``/rl-swarm/share-via/1`` for a digest and its author, the bootnode asks that author on ``/rl-swarm/share/1``, over the
connection that there is, and passes on what comes, as it comes. It says nothing else to anybody, so nothing but shares
that their authors serve can travel this way, and it dials nobody. Who asked checks the digest, and so does the
bootnode, before it keeps a share for others.

A share is fetched once for all who ask for it: a home's line up is the narrowest part of the way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.datastructures import StreamInfo
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.swarm.multiaddrs import host_of, household_of
from rgym_exp.swarm.refused import FetchFailed
from rgym_exp.swarm.share_transit import KeptShares, ShareInTransit
from rgym_exp.swarm.streams import StreamCounter
from rgym_exp.swarm.transfer import (
    BUSY,
    HERE,
    NOT_HERE,
    UNREACHABLE,
    VIA_PROTOCOL,
    fetch_share,
    read_via_request,
    send_answer,
)

_CONNECTED_FRESH_SECONDS, _UNCONNECTED_FRESH_SECONDS = 10.0, 1.0
"""How long it is believed that a peer is connected, or is not."""
_STATUSES = {"fetch_busy": BUSY, "fetch_unreachable": UNREACHABLE, "fetch_timeout": UNREACHABLE}

logger = logging.getLogger("rl_swarm.swarm")


@dataclass(frozen=True, kw_only=True)
class RelayLimits:
    """What passing shares on may cost a bootnode. A share of the default settings has 3 to 10 KB."""

    max_share_bytes: int = 4 * 1024 * 1024
    streams: int = 128
    """At a time, over all who ask."""
    streams_per_asker: int = 8
    request_seconds: float = 5.0
    """Until the whole request is here."""
    begin_seconds: float = 10.0
    """Until the author begins to send."""
    fetch_seconds: float = 30.0
    """Until all is here, which is as long as an answer takes."""
    bytes_per_second: float = 8 * 1024 * 1024
    """On average, over all who ask; the hub's line is its host's."""
    burst_bytes: float = 64 * 1024 * 1024
    asker_bytes_per_second: float = 1024 * 1024
    """For each household that asks: identities are free, addresses less so."""
    asker_burst_bytes: float = 16 * 1024 * 1024
    askers_remembered: int = 4096
    kept_bytes: int = 32 * 1024 * 1024
    """Of shares passed on lately, kept for the others who ask for them."""


class ByteBudget:
    """So many bytes per second, with a burst; who has used it up waits. What is taken may overdraw it once."""

    def __init__(self, *, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._left, self._at = burst, clock()

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left now."""
        self._refill()
        return self._left <= 0

    @property
    def is_full(self) -> bool:
        """Whether nothing was taken that is not refilled."""
        self._refill()
        return self._left >= self._burst

    def take(self, count: int) -> None:
        """Count ``count`` bytes as sent."""
        self._refill()
        self._left -= count

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now


class ShareSource(Protocol):
    """Where a relay gets shares: ``AuthorConnections``, or a test's own."""

    async def fetch(self, author: PeerID, digest: bytes, take: Callable[[int, bytes], None]) -> None:
        """Give the share with this digest to ``take(size, chunk)`` as it comes from its author. Raises FetchFailed."""
        ...


class AuthorConnections:
    """The peers that have a connection to this daemon, and their shares."""

    def __init__(self, p2p: P2P, limits: RelayLimits) -> None:
        self._p2p, self._limits = p2p, limits
        self._connected: frozenset[PeerID] = frozenset()
        self._seen_at = -_CONNECTED_FRESH_SECONDS

    async def fetch(self, author: PeerID, digest: bytes, take: Callable[[int, bytes], None]) -> None:
        """See ``ShareSource``."""
        if not await self._is_connected(author):
            raise FetchFailed("fetch_unreachable")
        await fetch_share(
            self._p2p,
            author.to_base58(),
            digest.hex(),
            size=None,
            max_bytes=self._limits.max_share_bytes,
            timeout_seconds=self._limits.fetch_seconds,
            dial_seconds=self._limits.begin_seconds,
            on_bytes=take,
        )

    async def _is_connected(self, author: PeerID) -> bool:
        # Opening a stream would dial whom there is no connection to, and strangers would say whom.
        age = time.monotonic() - self._seen_at
        if age >= (_CONNECTED_FRESH_SECONDS if author in self._connected else _UNCONNECTED_FRESH_SECONDS):
            try:
                self._connected = frozenset(peer.peer_id for peer in await self._p2p.list_peers())
            except (OSError, EOFError, P2PDaemonError):
                return False
            self._seen_at = time.monotonic()
        return author in self._connected


class ShareRelay:
    """Answers ``/rl-swarm/share-via/1`` within its limits. All methods belong to the exchange's loop."""

    def __init__(
        self,
        source: ShareSource,
        limits: RelayLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._limits, self._clock = source, limits or RelayLimits(), clock
        self._streams = StreamCounter(total=self._limits.streams, per_peer=self._limits.streams_per_asker)
        self._total = ByteBudget(per_second=self._limits.bytes_per_second, burst=self._limits.burst_bytes, clock=clock)
        self._budgets: OrderedDict[str, ByteBudget] = OrderedDict()
        self._kept = KeptShares(self._limits.kept_bytes)
        self._coming: dict[tuple[PeerID, bytes], ShareInTransit] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.bytes_passed_on = 0
        """Sent to those who asked, since the start."""

    async def start(self, p2p: P2P) -> None:
        """Register the protocol at a daemon."""
        await p2p.add_binary_stream_handler(VIA_PROTOCOL, self.answer)

    async def answer(self, info: StreamInfo, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer. A peer that hangs, breaks off or asks nonsense costs a closed stream, no more."""
        asker = str(info.peer_id)
        host = host_of(str(info.addr))
        budget = self._budget_of(asker if host is None else household_of(host))
        try:
            with self._streams.one(asker) as is_admitted:
                async with asyncio.timeout(self._limits.request_seconds):
                    digest, author = await read_via_request(reader)
                if not is_admitted or budget.is_spent or self._total.is_spent:
                    async with asyncio.timeout(self._limits.request_seconds):
                        await send_answer(writer, BUSY, None)
                    return
                async with asyncio.timeout(self._limits.fetch_seconds):
                    await self._pass_on(self._share(author, digest), writer, (budget, self._total))
        except (TimeoutError, OSError, EOFError, ValueError, FetchFailed):
            logger.debug("A request of %s to pass a share on was not completed.", asker, exc_info=True)
        finally:
            writer.close()

    async def _pass_on(
        self, share: ShareInTransit, writer: asyncio.StreamWriter, budgets: Sequence[ByteBudget]
    ) -> None:
        """Raises FetchFailed when the author breaks off; the stream's early end then says so."""
        try:
            async with asyncio.timeout(self._limits.begin_seconds):
                size = await share.begun()
        except TimeoutError:
            await send_answer(writer, UNREACHABLE, None)
            return
        except FetchFailed as failure:
            await send_answer(writer, _STATUSES.get(failure.reason, NOT_HERE), None)
            return
        for budget in budgets:
            budget.take(size)
        writer.write(HERE + size.to_bytes(4, "big"))
        async for chunk in share.chunks():
            writer.write(chunk)
            await writer.drain()
            self.bytes_passed_on += len(chunk)

    def _share(self, author: PeerID, digest: bytes) -> ShareInTransit:
        """The share that is kept, or comes in already for somebody else, or is asked for now."""
        key = (author, digest)
        share = self._kept.get(digest) or self._coming.get(key)
        if share is None:
            share = self._coming[key] = ShareInTransit()
            task = asyncio.ensure_future(self._bring(author, digest, share))
            self._tasks.add(task)  # the loop itself holds tasks only weakly
            task.add_done_callback(self._tasks.discard)
        return share

    async def _bring(self, author: PeerID, digest: bytes, share: ShareInTransit) -> None:
        try:
            async with asyncio.timeout(self._limits.fetch_seconds):
                await self._source.fetch(author, digest, share.take)
            self._kept.put(digest, share)
        except (FetchFailed, TimeoutError) as failure:
            share.fail(failure.reason if isinstance(failure, FetchFailed) else "fetch_timeout")
        finally:
            del self._coming[author, digest]

    def _budget_of(self, asker: str) -> ByteBudget:
        if asker not in self._budgets:
            self._forget_idle()
            self._budgets[asker] = ByteBudget(
                per_second=self._limits.asker_bytes_per_second, burst=self._limits.asker_burst_bytes, clock=self._clock
            )
        self._budgets.move_to_end(asker)
        return self._budgets[asker]

    def _forget_idle(self) -> None:
        """Keep no more budgets than the limit: those that are full say nothing, and then the longest unused goes."""
        if len(self._budgets) < self._limits.askers_remembered:
            return
        full = [asker for asker, budget in self._budgets.items() if budget.is_full]
        for asker in full or [next(iter(self._budgets))]:
            del self._budgets[asker]

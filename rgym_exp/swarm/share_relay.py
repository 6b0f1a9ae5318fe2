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
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.datastructures import StreamInfo
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.swarm.byte_budget import ByteBudget, HouseholdBudgets
from rgym_exp.swarm.refused import FetchFailed
from rgym_exp.swarm.share_transit import SharesInTransit
from rgym_exp.swarm.streams import StreamCounter, household_of_stream
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
_STATUSES = {
    "fetch_busy": BUSY,
    "fetch_failed": BUSY,  # who has too many streams closes the next one, and its word may be lost
    "fetch_unreachable": UNREACHABLE,
    "fetch_timeout": UNREACHABLE,
}


@dataclass(frozen=True, kw_only=True)
class RelayLimits:
    """What passing shares on may cost a bootnode. A share of the default settings has 3 to 10 KB."""

    max_share_bytes: int = 4 * 1024 * 1024
    streams: int = 512
    """At a time, over all who ask."""
    streams_per_asker: int = 8
    streams_per_household: int = 64
    """Sixteen nodes of one home that fetch four shares at once."""
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
    request_bytes: int = 16 * 1024
    """What a household is charged for a request at least: one that brings nothing costs work all the same."""
    askers_remembered: int = 4096
    in_transit_bytes: int = 64 * 1024 * 1024
    """Of all shares that are on their way at a time."""
    asker_in_transit_bytes: int = 8 * 1024 * 1024
    """Of those among them that go to one household."""
    kept_bytes: int = 32 * 1024 * 1024
    """Of shares passed on lately, kept for the others who ask for them."""


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
        self._limits = limits or RelayLimits()
        self._streams = StreamCounter(
            total=self._limits.streams,
            per_peer=self._limits.streams_per_asker,
            per_household=self._limits.streams_per_household,
        )
        self._total = ByteBudget(per_second=self._limits.bytes_per_second, burst=self._limits.burst_bytes, clock=clock)
        self._budgets = HouseholdBudgets(
            per_second=self._limits.asker_bytes_per_second,
            burst=self._limits.asker_burst_bytes,
            remembered=self._limits.askers_remembered,
            clock=clock,
        )
        self._transit = SharesInTransit(
            source.fetch,
            fetch_seconds=self._limits.fetch_seconds,
            max_bytes=self._limits.in_transit_bytes,
            household_bytes=self._limits.asker_in_transit_bytes,
            kept_bytes=self._limits.kept_bytes,
        )
        self.bytes_passed_on = 0
        """Sent to those who asked, since the start."""

    async def start(self, p2p: P2P) -> None:
        """Register the protocol at a daemon."""
        await p2p.add_binary_stream_handler(VIA_PROTOCOL, self.answer)

    async def answer(self, info: StreamInfo, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer. A peer that hangs, breaks off or asks nonsense costs a closed stream, no more."""
        await self._streams.answer(
            info,
            writer,
            partial(self._answer, info, reader, writer),
            what="request to pass a share on",
            busy=BUSY,
        )

    async def _answer(self, info: StreamInfo, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        household = household_of_stream(info)
        is_busy = self._is_spent(household)
        if not is_busy:
            self._budgets.of(household).take(self._limits.request_bytes)
        async with asyncio.timeout(self._limits.request_seconds):
            digest, author = await read_via_request(reader)
            if is_busy:
                await send_answer(writer, BUSY, None)
                return
        async with asyncio.timeout(self._limits.fetch_seconds):
            await self._pass_on(author, digest, household, writer)

    async def _pass_on(self, author: PeerID, digest: bytes, household: str, writer: asyncio.StreamWriter) -> None:
        """Raises FetchFailed when the author breaks off; the stream's early end then says so."""
        with self._transit.one(author, digest, household) as share:
            try:
                async with asyncio.timeout(self._limits.begin_seconds):
                    size = await share.begun()
            except TimeoutError:
                await send_answer(writer, UNREACHABLE, None)
                return
            except FetchFailed as failure:
                await send_answer(writer, _STATUSES.get(failure.reason, NOT_HERE), None)
                return
            # Many may have asked before any of them was charged.
            if self._is_spent(household) or not self._transit.has_room_for(household):
                await send_answer(writer, BUSY, None)
                return
            self._budgets.of(household).take(max(0, size - self._limits.request_bytes))
            self._total.take(size)
            writer.write(HERE + size.to_bytes(4, "big"))
            async for chunk in share.chunks():
                writer.write(chunk)
                await writer.drain()
                self.bytes_passed_on += len(chunk)

    def _is_spent(self, household: str) -> bool:
        return self._total.is_spent or self._budgets.of(household).is_spent

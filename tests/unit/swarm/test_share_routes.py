"""Which way a share is fetched, with real daemons: directly where that is possible, else through a bootnode."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from hivemind.p2p import P2P

from rgym_exp.swarm.bootnode_services import serve_as_bootnode
from rgym_exp.swarm.daemon import start_daemon
from rgym_exp.swarm.dial_back import ADDRESSES_PROTOCOL
from rgym_exp.swarm.identity import Identity
from rgym_exp.swarm.refused import FetchFailed
from rgym_exp.swarm.share_routes import ShareRoutes
from rgym_exp.swarm.transfer import ShareServer, ShareStore
from rgym_exp.types import Announcement
from tests.unit.swarm.swarm_builders import make_announcement

DATA = b"share" * 60_000


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Swarm:
    """A bootnode that tells nobody's address, an author, and a reader whom libp2p shows no way to the author."""

    def __init__(self, bootnode: P2P, author: P2P, reader: P2P) -> None:
        self.bootnode, self.author, self.reader = bootnode, author, reader
        self.clock = Clock()
        self.routes = ShareRoutes(max_bytes=1 << 20, timeout_seconds=10, clock=self.clock)

    def announcement(self, data: bytes = DATA) -> Announcement:
        return make_announcement(self.author.peer_id.to_base58(), data=data)

    async def fetch(self, data: bytes = DATA, *, bootnodes: bool = True) -> bytes:
        """As the exchange would."""
        return await self.routes.fetch(
            self.reader, self.announcement(data), [self.bootnode.peer_id] if bootnodes else []
        )

    async def connect(self) -> None:
        """The author finds a way to the reader."""
        _, addresses = await self.reader._client.identify()
        await self.author._client.connect(self.reader.peer_id, addresses)


@pytest.fixture
async def swarm(identities: list[Identity]) -> AsyncIterator[Swarm]:
    async with AsyncExitStack() as stack:
        started = []
        for identity in identities[:3]:
            started.append(await start_daemon(identity, host="127.0.0.1", port=0))
            stack.push_async_callback(started[-1].shutdown)
        bootnode, author, reader = started
        await serve_as_bootnode(bootnode)
        await bootnode.remove_binary_stream_handler(ADDRESSES_PROTOCOL)
        store = ShareStore()
        store.put(3, DATA)
        await ShareServer(store).start(author)
        _, addresses = await bootnode._client.identify()
        await author._client.connect(bootnode.peer_id, addresses)
        yield Swarm(bootnode, author, reader)


async def test_a_share_whose_author_can_be_reached_comes_directly(swarm: Swarm) -> None:
    await swarm.connect()
    assert await swarm.fetch() == DATA
    assert swarm.routes.take_ways() == {swarm.author.peer_id.to_base58(): "direct"}
    assert swarm.routes.take_ways() == {}


async def test_one_whose_author_cannot_be_reached_comes_through_the_bootnode(swarm: Swarm) -> None:
    with pytest.raises(FetchFailed, match="fetch_unreachable"):
        await swarm.fetch(bootnodes=False)
    _, addresses = await swarm.bootnode._client.identify()
    await swarm.reader._client.connect(swarm.bootnode.peer_id, addresses)
    # libp2p would ask the bootnode for the author's address by itself, so the author's is made to be of no use.
    swarm.routes._unreachable.begin(swarm.author.peer_id.to_base58())
    assert await swarm.fetch() == DATA
    assert swarm.routes.take_ways() == {swarm.author.peer_id.to_base58(): "bootnode"}


async def test_what_the_author_has_not_is_not_asked_for_again_elsewhere(swarm: Swarm) -> None:
    await swarm.connect()
    with pytest.raises(FetchFailed, match="fetch_not_here"):
        await swarm.fetch(b"never published")


async def test_the_direct_way_is_tried_again_after_a_while_and_the_pause_grows(swarm: Swarm) -> None:
    peer = swarm.author.peer_id.to_base58()
    for _ in range(2):
        swarm.routes._unreachable.begin(peer)
    swarm.clock.now = 39.0  # the second pause is of 40 s
    assert await swarm.routes._ways_to(swarm.reader, peer) == [swarm.routes._through]
    swarm.clock.now = 41.0
    assert await swarm.routes._ways_to(swarm.reader, peer) == [swarm.routes._directly, swarm.routes._through]


async def test_one_that_reached_us_meanwhile_is_asked_directly_at_once(swarm: Swarm) -> None:
    swarm.routes._unreachable.begin(swarm.author.peer_id.to_base58())
    await swarm.connect()
    assert await swarm.fetch() == DATA
    assert swarm.routes.take_ways() == {swarm.author.peer_id.to_base58(): "direct"}


async def test_a_bootnode_that_is_away_does_not_keep_the_direct_way_from_being_tried(swarm: Swarm) -> None:
    await swarm.bootnode.shutdown()
    await swarm.connect()
    assert hashlib.sha256(await swarm.fetch()).hexdigest() == swarm.announcement().share_digest

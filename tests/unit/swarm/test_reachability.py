"""Real daemons: a peer has a bootnode dial it, and finds another through what the bootnode knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hivemind.p2p import P2P

from rgym_exp.base.ports import free_port
from rgym_exp.swarm.bootnode_services import serve_as_bootnode
from rgym_exp.swarm.daemon import start_daemon
from rgym_exp.swarm.dht_records import DhtRecords
from rgym_exp.swarm.dial_back import ADDRESSES_PROTOCOL, DIAL_BACK_PROTOCOL, receive, send
from rgym_exp.swarm.identity import Identity
from rgym_exp.swarm.outside_look import look_from_outside
from rgym_exp.swarm.reachability import Reachability, ReachabilityWatch, ask_dial_back, meet


@asynccontextmanager
async def daemons(identities: list[Identity], count: int, host: str = "127.0.0.1") -> AsyncIterator[list[P2P]]:
    """The first one serves as a bootnode, and the others are connected to it."""
    async with AsyncExitStack() as stack:
        started = []
        for identity in identities[:count]:
            started.append(await start_daemon(identity, host=host, port=0))
            stack.push_async_callback(started[-1].shutdown)
        await serve_as_bootnode(started[0])
        _, addresses = await started[0]._client.identify()
        for other in started[1:]:
            await other._client.connect(started[0].peer_id, addresses)
        yield started


@pytest.mark.parametrize(("host", "seen"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
async def test_a_peer_that_can_be_dialled_is_told_so(identities: list[Identity], host: str, seen: str) -> None:
    async with daemons(identities, 2, host) as (bootnode, peer):
        found = await ask_dial_back(peer, bootnode.peer_id)
        assert found is not None and found.host == seen and found.open_ports == found.ports
        assert found.in_words().startswith("Others can reach this node directly")


async def test_one_at_whose_port_nobody_answers_is_told_so_and_what_to_do(identities: list[Identity]) -> None:
    async with daemons(identities, 2) as (bootnode, peer):
        port = free_port()
        found = await ask_dial_back(peer, bootnode.peer_id, port=port)
        assert found == Reachability(host="127.0.0.1", ports=(port,), open_ports=())
        assert f"set communications.port={port}" in found.in_words()


async def test_a_peer_that_libp2p_does_not_find_is_met_where_the_bootnode_reached_it(
    identities: list[Identity],
) -> None:
    async with daemons(identities, 3) as (bootnode, known, seeker):
        await ask_dial_back(known, bootnode.peer_id)
        assert await meet(seeker, known.peer_id, [bootnode.peer_id])
        assert known.peer_id in {each.peer_id for each in await seeker.list_peers()}


async def test_a_bootnode_that_tells_nonsense_leads_nowhere(identities: list[Identity]) -> None:
    async with daemons(identities, 3) as (bootnode, known, seeker):

        async def lie(info: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"\x00\x05\xff\xff\xff\xff\xff")
            writer.close()

        await bootnode.remove_binary_stream_handler(ADDRESSES_PROTOCOL)
        await bootnode.add_binary_stream_handler(ADDRESSES_PROTOCOL, lie)
        assert not await meet(seeker, known.peer_id, [bootnode.peer_id])


@pytest.mark.parametrize("host", [16909060, b"\x01\x02\x03\x04", "somewhere", None])
async def test_a_bootnode_that_answers_with_no_address_is_not_believed(
    identities: list[Identity], host: object
) -> None:
    async with daemons(identities, 2) as (bootnode, peer):

        async def lie(info: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await receive(reader)
            await send(writer, [host, [], True])
            writer.close()

        await bootnode.remove_binary_stream_handler(DIAL_BACK_PROTOCOL)
        await bootnode.add_binary_stream_handler(DIAL_BACK_PROTOCOL, lie)
        with pytest.raises(ValueError):
            await ask_dial_back(peer, bootnode.peer_id)
        assert not await ReachabilityWatch(peer, [bootnode.peer_id])._look()


async def test_a_node_that_joins_learns_whether_others_can_reach_it(identities: list[Identity]) -> None:
    async with AsyncExitStack() as stack:
        bootnode = await DhtRecords.create(identity=identities[0], swarm_id="s")
        stack.push_async_callback(bootnode.close)
        joiner = await DhtRecords.create(identity=identities[1], swarm_id="s", bootnodes=bootnode.visible_maddrs())
        stack.push_async_callback(joiner.close)
        assert joiner.reachability is not None
        async with asyncio.timeout(20):
            while joiner.reachability.latest is None:
                await asyncio.sleep(0.05)
        assert joiner.reachability.latest.open_ports


async def test_the_machine_is_looked_at_without_a_node(identities: list[Identity]) -> None:
    async with daemons(identities, 1) as (bootnode,):
        address = str((await bootnode.get_visible_maddrs())[0])
        port = free_port()
        found = await look_from_outside([address], port=port)
        assert found.open_ports == (port,)

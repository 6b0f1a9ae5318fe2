"""The board with real p2pd daemons: honest peers, forgers, and a daemon that can't start."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgpack
import pytest
from hivemind.dht.routing import DHTID

from rgym_exp.swarm.announcement import encode_announcement
from rgym_exp.swarm.board import AnnouncementBoard
from rgym_exp.swarm.errors import SwarmError
from rgym_exp.swarm.identity import Identity
from rgym_exp.swarm.shards import board_key
from tests.unit.swarm.swarm_builders import SWARM_ID, make_announcement

MakeBoard = Callable[..., Awaitable[AnnouncementBoard]]


@pytest.fixture
async def make_board(identities: list[Identity]) -> AsyncIterator[MakeBoard]:
    boards: list[AnnouncementBoard] = []

    async def make(index: int, **options: object) -> AnnouncementBoard:
        if boards and "bootnodes" not in options:
            options["bootnodes"] = boards[0].visible_maddrs()
        board = await AnnouncementBoard.create(identity=identities[index], swarm_id=SWARM_ID, **options)
        boards.append(board)
        return board

    yield make
    await asyncio.gather(*(board.close() for board in boards))


async def test_what_one_peer_hangs_up_all_others_read(make_board: MakeBoard) -> None:
    boards = [await make_board(index) for index in range(3)]
    for board in boards[1:]:
        assert await board.announce(make_announcement(board.peer_id, 7))
    expected = {board.peer_id: make_announcement(board.peer_id, 7) for board in boards[1:]}
    for board in boards:
        read = await board.read(7)
        assert {announcement.peer_id: announcement for announcement in read} == expected
        assert await board.read(6) == []
        assert board.size.peers == 2


async def test_peers_that_disagree_by_one_level_still_find_each_other(make_board: MakeBoard) -> None:
    small, large = await make_board(0), await make_board(1)
    large.size.observe(6, level=0, shards_read=1, found=60)
    assert (large.size.level, small.size.level) == (1, None)
    await small.announce(make_announcement(small.peer_id, 7))
    await large.announce(make_announcement(large.peer_id, 7))
    for board in (small, large):
        found = {announcement.peer_id for announcement in await board.read(7, 8, wide=True)}
        assert found == {small.peer_id, large.peer_id}


async def test_a_newcomer_finds_the_level_at_which_the_swarm_writes(make_board: MakeBoard) -> None:
    host, member = await make_board(0), await make_board(1)
    member.size.observe(6, level=0, shards_read=1, found=60)
    await member.announce(make_announcement(member.peer_id, 7))
    found: list[str] = []
    # The survey reads one of the level's two shards at random: it meets the member within a few rounds.
    for _ in range(30):
        found = [announcement.peer_id for announcement in await host.survey(7)]
        if found:
            break
    assert found == [member.peer_id]


async def test_a_hub_keeper_reads_every_shard(make_board: MakeBoard) -> None:
    hub, member = await make_board(0), await make_board(1)
    for board in (hub, member):
        board.size.observe(6, level=0, shards_read=1, found=100)
    await member.announce(make_announcement(member.peer_id, 7))
    assert hub.size.level == 2
    assert [announcement.peer_id for announcement in await hub.read(7)] == [member.peer_id]


async def test_addresses_can_be_dialled_and_name_the_peer(make_board: MakeBoard) -> None:
    board = await make_board(0)
    for address in board.visible_maddrs():
        _, family, host, transport, port, _, peer_id = address.split("/")
        assert (family, transport, peer_id) == ("ip4", "tcp", board.peer_id)
        socket.create_connection((host, int(port)), timeout=5).close()


async def test_announced_addresses_take_the_place_of_the_real_ones(make_board: MakeBoard) -> None:
    board = await make_board(0, announce=["/ip4/203.0.113.7/tcp/4001"])
    assert board.visible_maddrs() == [f"/ip4/203.0.113.7/tcp/4001/p2p/{board.peer_id}"]


async def test_a_forged_record_is_not_read_and_hides_nothing(make_board: MakeBoard, identities: list[Identity]) -> None:
    drops: Counter[str] = Counter()
    reader = await make_board(0, on_drop=lambda reason: drops.update([reason]))
    honest, forger = await make_board(1), await make_board(2)
    await honest.announce(make_announcement(honest.peer_id, 7))
    true = encode_announcement(make_announcement(forger.peer_id, 7), identities[2], level=0)
    fields = msgpack.unpackb(true)
    fields[3] = identities[3].public_key  # claims to be the fourth peer, signed with the forger's key
    forged = {forger.peer_id: true[:-1] + b"!", identities[3].peer_id: msgpack.packb(fields), "QmCopy": true}
    # The forger's own node keeps them, whatever its validator thinks, and serves them to whoever asks.
    key = DHTID.generate(source=board_key(SWARM_ID, 7, 0, 0))
    for subkey, record in forged.items():
        value = msgpack.packb(record)
        assert forger._node.protocol.storage.store(key, value, time.time() + 60, subkey=subkey)
    assert [announcement.peer_id for announcement in await reader.read(7)] == [honest.peer_id]
    assert drops == {"bad_signature": 2, "wrong_subkey": 1}


async def test_a_peer_cannot_store_what_is_not_its_own(make_board: MakeBoard, identities: list[Identity]) -> None:
    victim, forger = await make_board(0), await make_board(1)
    record = msgpack.packb(encode_announcement(make_announcement(forger.peer_id, 7), identities[1], level=0))
    key = DHTID.generate(source=board_key(SWARM_ID, 7, 0, 0))
    stored = await forger._node.protocol.call_store(
        victim.p2p.peer_id, [key] * 2, [record] * 2, [time.time() + 60] * 2, [victim.peer_id, forger.peer_id]
    )
    assert stored == [False, True]


async def test_a_taken_port_is_named(make_board: MakeBoard) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SwarmError, match=f"Port {port} on 127.0.0.1 is taken"):
            await make_board(0, port=port)


@pytest.mark.parametrize("address", ["nonsense", "/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/4001/p2p/short"])
async def test_a_malformed_bootnode_address_is_refused(make_board: MakeBoard, address: str) -> None:
    with pytest.raises(SwarmError, match="is not a bootnode address"):
        await make_board(0, bootnodes=[address])


async def test_a_host_that_is_no_ip_address_is_refused(make_board: MakeBoard) -> None:
    with pytest.raises(SwarmError, match="is no IP address"):
        await make_board(0, host="example.org")


async def test_closing_ends_the_daemon(identities: list[Identity], tmp_path: Path) -> None:
    board = await AnnouncementBoard.create(identity=identities[0], swarm_id=SWARM_ID)
    daemon = board.p2p._child
    await board.close()
    await board.close()
    assert daemon.returncode is not None
    assert board.stopped.is_set()

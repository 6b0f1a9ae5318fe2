"""The DHT with real p2pd daemons: honest peers, forgers, and a daemon that can't start."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hivemind.dht.routing import DHTID

from rgym_exp.errors import SwarmError
from rgym_exp.swarm.announcement import encode_announcement
from rgym_exp.swarm.dht_records import DhtRecords
from rgym_exp.swarm.identity import Identity
from rgym_exp.swarm.publishing import leave_notice
from rgym_exp.swarm.shards import Shard, record_key
from rgym_exp.swarm.validator import RECORD_LIFETIME_SECONDS
from tests.unit.swarm.swarm_builders import SWARM_ID, make_announcement

MakeRecords = Callable[..., Awaitable[DhtRecords]]


@pytest.fixture
async def make_records(identities: list[Identity]) -> AsyncIterator[MakeRecords]:
    all_records: list[DhtRecords] = []

    async def make(index: int, **options: Any) -> DhtRecords:
        if all_records and "bootnodes" not in options:
            options["bootnodes"] = all_records[0].visible_maddrs()
        records = await DhtRecords.create(identity=identities[index], swarm_id=SWARM_ID, **options)
        all_records.append(records)
        return records

    yield make
    await asyncio.gather(*(records.close() for records in all_records))


async def test_what_one_peer_publishes_all_others_read(make_records: MakeRecords) -> None:
    all_records = [await make_records(index) for index in range(3)]
    for records in all_records[1:]:
        assert await records.publish(make_announcement(records.peer_id, 7))
    expected = {records.peer_id: make_announcement(records.peer_id, 7) for records in all_records[1:]}
    for records in all_records:
        read = await records.read(7)
        assert {announcement.peer_id: announcement for announcement in read} == expected
        assert await records.read(6) == []
        assert records.size.peers == 2


async def test_peers_that_disagree_by_one_level_still_find_each_other(make_records: MakeRecords) -> None:
    small, large = await make_records(0), await make_records(1)
    large.size.observe({Shard(6, 0, 0): 60})
    assert (large.size.level, small.size.level) == (1, None)
    await small.publish(make_announcement(small.peer_id, 7))
    await large.publish(make_announcement(large.peer_id, 7))
    for records in (small, large):
        found: set[str] = set()
        # A sweep reads one of level 1's two shards at random: both are met within a few of them.
        for _ in range(30):
            await records.survey(7, sweep=True)
            found = {announcement.peer_id for announcement in await records.read(7)}
            if len(found) == 2:
                break
        assert found == {small.peer_id, large.peer_id}


async def test_a_newcomer_finds_the_level_at_which_the_swarm_writes(make_records: MakeRecords) -> None:
    host, member = await make_records(0), await make_records(1)
    member.size.observe({Shard(6, 0, 0): 60})
    await member.publish(make_announcement(member.peer_id, 7))
    found: list[str] = []
    # The survey reads one of the level's two shards at random: it meets the member within a few rounds.
    for _ in range(30):
        found = [announcement.peer_id for announcement in await host.survey(7)]
        if found:
            break
    assert found == [member.peer_id]


async def test_a_hub_keeper_reads_every_shard(make_records: MakeRecords) -> None:
    hub, member = await make_records(0), await make_records(1)
    for records in (hub, member):
        records.size.observe({Shard(6, 0, 0): 100})
    await member.publish(make_announcement(member.peer_id, 7))
    assert hub.size.level == 2
    assert [announcement.peer_id for announcement in await hub.read(7)] == [member.peer_id]


async def test_addresses_can_be_dialled_and_name_the_peer(make_records: MakeRecords) -> None:
    records = await make_records(0)
    for address in records.visible_maddrs():
        _, family, host, transport, port, _, peer_id = address.split("/")
        assert (family, transport, peer_id) == ("ip4", "tcp", records.peer_id)
        socket.create_connection((host, int(port)), timeout=5).close()


async def test_announced_addresses_take_the_place_of_the_real_ones(make_records: MakeRecords) -> None:
    records = await make_records(0, announce=["/ip4/203.0.113.7/tcp/4001"])
    assert records.visible_maddrs() == [f"/ip4/203.0.113.7/tcp/4001/p2p/{records.peer_id}"]


async def test_a_forged_record_is_not_read_and_hides_nothing(
    make_records: MakeRecords, identities: list[Identity]
) -> None:
    drops: Counter[str] = Counter()
    reader = await make_records(0, on_drop=lambda reason: drops.update([reason]))
    honest, forger = await make_records(1), await make_records(2)
    await honest.publish(make_announcement(honest.peer_id, 7))
    true = encode_announcement(make_announcement(forger.peer_id, 7), identities[2], level=0)
    fields = msgpack.unpackb(true)
    fields[3] = identities[3].public_key  # claims to be the fourth peer, signed with the forger's key
    forged = {forger.peer_id: true[:-1] + b"!", identities[3].peer_id: msgpack.packb(fields), "QmCopy": true}
    # The forger's own node keeps them, whatever its validator thinks, and serves them to whoever asks.
    key = DHTID.generate(source=record_key(SWARM_ID, 7, 0, 0))
    for subkey, record in forged.items():
        value = msgpack.packb(record)
        assert forger._node.protocol.storage.store(key, value, time.time() + 60, subkey=subkey)
    assert [announcement.peer_id for announcement in await reader.read(7)] == [honest.peer_id]
    assert drops == {"bad_signature": 2, "wrong_subkey": 1}


async def test_a_peer_cannot_store_what_is_not_its_own(make_records: MakeRecords, identities: list[Identity]) -> None:
    victim, forger = await make_records(0), await make_records(1)
    record = msgpack.packb(encode_announcement(make_announcement(forger.peer_id, 7), identities[1], level=0))
    key = DHTID.generate(source=record_key(SWARM_ID, 7, 0, 0))
    stored = await forger._node.protocol.call_store(
        victim.p2p.peer_id, [key] * 2, [record] * 2, [time.time() + 60] * 2, [victim.peer_id, forger.peer_id]
    )
    assert stored == [False, True]


async def test_a_peer_is_not_kept_silent_by_its_former_record_stored_anew(
    make_records: MakeRecords, identities: list[Identity]
) -> None:
    reader, peer, forger = [await make_records(index) for index in range(3)]
    former = make_announcement(peer.peer_id, 7)
    await peer.publish(former)
    record = msgpack.packb(encode_announcement(former, identities[1], level=0))
    key = DHTID.generate(source=record_key(SWARM_ID, 7, 0, 0))
    for victim in (reader, peer):
        ends = former.time + RECORD_LIFETIME_SECONDS + 60
        assert await forger._node.protocol.call_store(victim.p2p.peer_id, [key], [record], [ends], [peer.peer_id]) == [
            False
        ]
    newer = make_announcement(peer.peer_id, 7, data=b"newer", time=former.time + 1.0)
    assert await peer.publish(newer)
    assert await reader.read(7) == [newer]
    notice = leave_notice(newer, round=7, now=0.0)  # by a clock that was set back
    assert await peer.publish(notice)
    assert await reader.read(7) == [notice]


async def test_what_is_published_again_holds_and_nobody_has_to_try_once_more(make_records: MakeRecords) -> None:
    reader, peer = await make_records(0), await make_records(1)
    announcement = make_announcement(peer.peer_id, 7)
    assert await peer.publish(announcement)
    assert await peer.publish(announcement)
    assert await reader.read(7) == [announcement]


async def test_what_nobody_looks_for_any_more_need_not_be_published(make_records: MakeRecords) -> None:
    peer = await make_records(0)
    assert await peer.publish(make_announcement(peer.peer_id, 7, time=time.time() - 2 * RECORD_LIFETIME_SECONDS))
    assert await peer.read(7) == []


async def test_a_taken_port_is_named(make_records: MakeRecords) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SwarmError, match=f"Port {port} on 127.0.0.1 is taken"):
            await make_records(0, port=port)


@pytest.mark.parametrize("address", ["nonsense", "/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/4001/p2p/short"])
async def test_a_malformed_bootnode_address_is_refused(make_records: MakeRecords, address: str) -> None:
    with pytest.raises(SwarmError, match="is not a bootnode address"):
        await make_records(0, bootnodes=[address])


async def test_a_host_that_is_no_ip_address_is_refused(make_records: MakeRecords) -> None:
    with pytest.raises(SwarmError, match="is no IP address"):
        await make_records(0, host="example.org")


async def test_closing_ends_the_daemon(identities: list[Identity], tmp_path: Path) -> None:
    records = await DhtRecords.create(identity=identities[0], swarm_id=SWARM_ID)
    daemon = records.p2p._child
    await records.close()
    await records.close()
    assert daemon.returncode is not None
    assert records.stopped.is_set()

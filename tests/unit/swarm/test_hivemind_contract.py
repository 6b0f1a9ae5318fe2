"""What we use of hivemind beyond what it promises, one test each: a new hivemind that breaks it is named here first.

hivemind is real, and so is p2pd wherever it is the daemon's behaviour that counts. Each failure says what the thing is
used for; docs/hivemind.md has them together, with what replacing hivemind would take.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import hivemind.dht.node
import hivemind.dht.protocol
import hivemind.dht.routing
import msgpack
import psutil
import pytest
from hivemind.dht.node import DHTNode
from hivemind.dht.protocol import DHTProtocol
from hivemind.dht.routing import DHTID
from hivemind.dht.storage import DHTLocalStorage, DictionaryDHTValue
from hivemind.dht.validation import DHTRecord, RecordValidatorBase
from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError
from hivemind.utils import timed_storage
from hivemind.utils.logging import use_hivemind_log_handler
from hivemind.utils.multiaddr import Multiaddr
from hivemind.utils.timed_storage import get_dht_time

from rgym_exp.swarm.daemon import start_daemon
from rgym_exp.swarm.identity import Identity

KEY = "a shard"
WAIT_SECONDS = 20.0

CLOCK_MODULES = (timed_storage, hivemind.dht.node, hivemind.dht.protocol, hivemind.dht.routing)
"""Each holds the name by which it reads the time."""

StartNode = Callable[..., Awaitable[DHTNode]]


class Believing(RecordValidatorBase):
    """Takes every record but those with the value "bad", and remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[DHTRecord] = []

    def validate(self, record: DHTRecord) -> bool:
        self.seen.append(record)
        return bool(record.value != msgpack.packb("bad"))


@pytest.fixture(autouse=True)
def the_machines_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the DHT goes by, whatever clock another test of this process has left there."""
    for module in CLOCK_MODULES:
        # Raises where a module has no such name any more.
        monkeypatch.setattr(module, "get_dht_time", get_dht_time)


@pytest.fixture
async def daemons(identities: list[Identity]) -> AsyncIterator[list[P2P]]:
    """Three daemons that don't know of each other."""
    started = [await start_daemon(identity, host="127.0.0.1", port=0) for identity in identities[:3]]
    yield started
    for p2p in started:
        await p2p.shutdown()


@pytest.fixture
async def start_node() -> AsyncIterator[StartNode]:
    """Starts a DHT node on a daemon, with the settings that make a node ours."""
    nodes: list[DHTNode] = []

    async def start(p2p: P2P, validator: RecordValidatorBase | None = None) -> DHTNode:
        node = await DHTNode.create(
            p2p=p2p,
            node_id=DHTID.generate(source=str(p2p.peer_id)),
            num_replicas=4,
            num_workers=4,
            bucket_size=8,
            wait_timeout=3.0,
            cache_locally=False,
            cache_nearest=0,
            cache_on_store=False,
            cache_size=1,
            reuse_get_requests=False,
            record_validator=validator,
        )
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        await node.shutdown()


async def introduce(node: DHTNode, others: Sequence[DHTNode]) -> None:
    """Connect it to the others, and let them know of each other."""
    for other in others:
        await node.p2p._client.connect(other.p2p.peer_id, await plain_addresses(other.p2p))
        assert await node.protocol.call_ping(other.p2p.peer_id) == other.node_id
        await until_known(
            node, other, "`protocol.call_ping` no longer makes both sides known to each other, as joining needs."
        )


async def plain_addresses(p2p: P2P) -> list[Multiaddr]:
    """Its addresses without their end ``/p2p/...``."""
    return [Multiaddr(str(address).rpartition("/p2p/")[0]) for address in await p2p.get_visible_maddrs(latest=True)]


async def until_known(one: DHTNode, other: DHTNode, otherwise: str) -> None:
    """Wait until each is in the other's routing table (`uid_to_peer_id`, which bootnodes.py counts, too)."""
    deadline = time.monotonic() + WAIT_SECONDS
    tables = one.protocol.routing_table.uid_to_peer_id, other.protocol.routing_table.uid_to_peer_id
    while not (other.node_id in tables[0] and one.node_id in tables[1]):
        assert time.monotonic() < deadline, otherwise
        await asyncio.sleep(0.05)


# ------------------------------------------------------------------------------------------------- the daemon


async def test_the_daemon_runs_in_a_session_of_its_own(daemons: list[P2P]) -> None:
    pid = daemons[0]._child.pid
    assert os.getsid(pid) == pid, (
        "hivemind no longer starts p2pd by `asyncio.subprocess.create_subprocess_exec` of its module p2p_daemon, which "
        "swarm/daemon.py replaces: a Ctrl-C in the terminal kills the daemon before the node has taken its leave."
    )


async def test_the_end_of_the_daemon_is_seen_at_its_process(daemons: list[P2P]) -> None:
    child = daemons[0]._child
    assert child.returncode is None
    psutil.Process(child.pid).kill()
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await child.wait()
    except TimeoutError:
        pytest.fail("`P2P._child.wait()` doesn't tell of the daemon's death: nobody would start another one.")
    assert child.returncode == -9, "`P2P._child.returncode` is what the log tells of a daemon that died."


_NODE = """
import sys, threading
from pathlib import Path
from rgym_exp.swarm.libp2p import LibP2PExchange
LibP2PExchange(identity_path=Path(sys.argv[1]), swarm_id="s", tasks_digest="t", max_slots=4, num_generations=2)
print("up", flush=True)
threading.Event().wait()
"""


def test_the_daemon_ends_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    node = subprocess.Popen([sys.executable, "-c", _NODE, str(tmp_path / "swarm.pem")], stdout=subprocess.PIPE)
    try:
        assert node.stdout is not None
        assert select.select([node.stdout], [], [], 60)[0]
        assert node.stdout.readline() == b"up\n"
        daemons = [child for child in psutil.Process(node.pid).children() if "p2pd" in child.name()]
        assert len(daemons) == 1
    finally:
        node.kill()
        node.wait(30)
    gone, alive = psutil.wait_procs(daemons, timeout=30)
    assert (len(gone), len(alive)) == (1, 0), (
        "p2pd no longer ends when the persistent connection of its parent does: a killed node leaves a daemon behind "
        "that holds its port and answers in its name."
    )


async def test_a_daemon_that_nobody_connects_to_ends_by_itself(identities: list[Identity], tmp_path: Path) -> None:
    command = P2P._make_process_args(
        str(daemon_program()), listen=f"/unix/{tmp_path}/s.sock", id=str(identities[0].path), idleTimeout="1s"
    )
    daemon = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await daemon.wait()
    except TimeoutError:
        daemon.kill()
        await daemon.wait()
        pytest.fail("p2pd ignores -idleTimeout: one whose parent died while it started would run for ever.")


def test_the_daemon_lies_where_the_doctor_looks_for_it() -> None:
    assert daemon_program().is_file(), "`rl-swarm doctor` runs hivemind/hivemind_cli/p2pd (commands/checks.py)."


def daemon_program() -> Path:
    return Path(hivemind.__file__).parent / "hivemind_cli" / "p2pd"


async def test_a_daemon_connects_to_an_address_that_it_is_given(daemons: list[P2P]) -> None:
    asking, asked = daemons[:2]
    await asking._client.connect(asked.peer_id, await plain_addresses(asked))
    connected = {peer.peer_id for peer in await asking.list_peers()}
    assert connected == {asked.peer_id}, (
        "`P2P._client.connect(peer_id, [address])` and `P2P.list_peers()` are how bootnodes.py reaches a bootnode and "
        "sees that it is connected; hivemind has no public call for the first."
    )


async def test_a_peer_whose_connection_was_given_up_is_met_again_by_what_the_daemon_knows(daemons: list[P2P]) -> None:
    asking, asked = daemons[:2]
    await asking._client.connect(asked.peer_id, await plain_addresses(asked))
    async with asyncio.timeout(20):
        # The daemons' own look for neighbours, begun as they met, may connect them once more.
        while await asking.list_peers():
            await asking._client.disconnect(asked.peer_id)
            await asyncio.sleep(0.1)
    await asking._client.connect(asked.peer_id, [])
    assert asked.peer_id in {peer.peer_id for peer in await asking.list_peers()}, (
        "`P2P._client.disconnect(peer_id)` and then `connect(peer_id, [])` are how reachability.py has two peers that "
        "met over a circuit meet anew."
    )


async def test_a_connection_that_fails_is_an_error_of_the_daemon(daemons: list[P2P]) -> None:
    stranger = PeerID.from_base58("QmW7P27ZQ93R4M3uZA4ZTgptx8dtKpKKXjULgTNdigUMTT")
    with pytest.raises(P2PDaemonError):  # what bootnodes.py and transfer.py go on from; anything else would end a task
        await daemons[0]._client.connect(stranger, [Multiaddr("/ip4/127.0.0.1/tcp/9")])
    with pytest.raises(P2PDaemonError):
        await daemons[0].call_binary_stream_handler(stranger, "/nobody/serves/this")


async def test_a_daemon_says_where_it_listens(daemons: list[P2P]) -> None:
    peer_id, listening = await daemons[0]._client.identify()
    assert peer_id == daemons[0].peer_id
    parts = [str(address).split("/") for address in listening]
    assert all(len(each) == 5 and each[1] == "ip4" and each[3] == "tcp" and int(each[4]) > 0 for each in parts), (
        "`P2P._client.identify()` no longer gives the addresses as /ip4/.../tcp/..., without the peer id: a node could "
        "not tell a bootnode which ports to dial back."
    )


async def test_a_stream_tells_who_asks_and_carries_bytes_both_ways(daemons: list[P2P]) -> None:
    asking, asked = daemons[:2]
    await asking._client.connect(asked.peer_id, await plain_addresses(asked))
    askers: list[tuple[str, str]] = []

    async def answer(info: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        askers.append((str(info.peer_id), str(info.addr)))
        writer.write(await reader.readexactly(4) + b"!")
        await writer.drain()
        writer.close()

    await asked.add_binary_stream_handler("/contract/1", answer)
    info, reader, writer = await asking.call_binary_stream_handler(asked.peer_id, "/contract/1")
    writer.write(b"ping")
    await writer.drain()
    assert await reader.readexactly(5) == b"ping!"
    writer.close()
    ((asker, came_from),) = askers
    assert asker == str(asking.peer_id), "`StreamInfo.peer_id` is whom transfer.py counts streams by."
    assert came_from.startswith("/ip4/127.0.0.1/tcp/"), "`StreamInfo.addr` is where a bootnode dials a node back."
    assert str(info.addr) in [str(address) for address in await plain_addresses(asked)], (
        "`StreamInfo.addr` is the far end of the connection that a share came over: it tells a relayed one apart."
    )


def test_its_log_goes_where_ours_goes() -> None:
    use_hivemind_log_handler("nowhere")
    logger = logging.getLogger("hivemind")
    assert logger.propagate, "hivemind keeps its messages from our log file (daemon.py asks it not to)."
    writes_itself = any(type(handler) is logging.StreamHandler for handler in logger.handlers)  # pytest has kinds of it
    assert not writes_itself, "hivemind writes to the terminal by itself, over the live view."


# ---------------------------------------------------------------------------------------------------- the DHT


def test_a_dht_node_takes_the_settings_that_we_give_it() -> None:
    known = inspect.signature(DHTNode.create).parameters
    ours = {
        *("p2p", "node_id", "num_replicas", "num_workers", "bucket_size", "wait_timeout", "cache_locally"),
        *("cache_nearest", "cache_on_store", "cache_size", "reuse_get_requests", "record_validator"),
    }
    # It takes any keyword and passes on what it doesn't know: a renamed one would be without effect, and unnoticed.
    assert ours <= known.keys(), f"DHTNode.create no longer knows {ours - known.keys()} (dht_records.py sets them)."


def test_names_and_bytes_of_keys_are_as_they_were() -> None:
    made = DHTID.generate(source=KEY)
    assert made.to_bytes().hex() == "a65a2f545470abeed0ba3768130717e758c20673", (
        "`DHTID.generate(source=...)` gives other keys than it did: peers of two versions would not find each other's "
        "shards, and validator.py compares a key's bytes with a record's."
    )
    assert DHTID.from_bytes(made.to_bytes()) == made, "validator.py looks a record's key up in the storage."


async def test_the_validator_is_shown_what_it_decides_by(daemons: list[P2P], start_node: StartNode) -> None:
    validator = Believing()
    writer, keeper = await start_node(daemons[0]), await start_node(daemons[1], validator)
    await introduce(writer, [keeper])
    until_time = get_dht_time() + 60
    assert await writer.store(KEY, subkey="QmPeer", value=b"record", expiration_time=until_time, beam_size=4)
    shown = DHTRecord(
        key=DHTID.generate(source=KEY).to_bytes(),
        subkey=msgpack.packb("QmPeer"),
        value=msgpack.packb(b"record"),
        expiration_time=until_time,
    )
    assert shown in validator.seen, (
        "A record that another peer stores is no longer shown to the validator as (key's bytes, msgpack of the subkey, "
        "msgpack of the value, expiry): validator.py would refuse every announcement."
    )
    assert abs(get_dht_time() - time.time()) < 1, "the DHT's time is no longer the epoch's: expiries are off."


async def test_our_own_check_of_a_shard_takes_the_place_of_theirs(daemons: list[P2P], start_node: StartNode) -> None:
    reader, other = await start_node(daemons[0], Believing()), await start_node(daemons[1])
    await introduce(reader, [other])
    key, expiry = DHTID.generate(source=KEY), get_dht_time() + 60
    for subkey, value in {"good": b"record", "evil": "bad"}.items():
        other.protocol.storage.store(key, msgpack.packb(value), expiry, subkey=subkey)

    values = await reader.get_many([KEY], sufficient_expiration_time=float("nan"), beam_size=4)
    if values[KEY] is not None:
        pytest.fail("hivemind keeps the good entries of a shard now; validator.py need not do it in its place.")

    def keep_good(key_bytes: bytes, dictionary: DictionaryDHTValue) -> bool:
        assert key_bytes == key.to_bytes()
        with dictionary.freeze():
            del dictionary["evil"]
        return True

    assert [*inspect.signature(DHTProtocol._validate_dictionary).parameters][1:] == ["key_bytes", "dictionary"]
    reader.protocol._validate_dictionary = keep_good
    values = await reader.get_many([KEY], sufficient_expiration_time=float("nan"), beam_size=4)
    found = values[KEY].value if values[KEY] is not None else {}
    assert {subkey: entry.value for subkey, entry in found.items()} == {"good": b"record"}, (
        "`protocol._validate_dictionary` is no longer what decides on a shard that a peer sent: one bad entry would "
        "hide all others of its shard."
    )


async def test_a_read_without_a_sufficient_expiry_asks_everybody(daemons: list[P2P], start_node: StartNode) -> None:
    nodes = [await start_node(p2p) for p2p in daemons]
    reader, *keepers = nodes
    await introduce(reader, keepers)
    key, expiry = DHTID.generate(source=KEY), get_dht_time() + 60
    for index, node in enumerate(nodes):
        node.protocol.storage.store(key, msgpack.packb(index), expiry, subkey=f"peer {index}")
    first = await reader.get_many([KEY], sufficient_expiration_time=get_dht_time(), beam_size=4)
    assert len(first[KEY].value) == 1, "a read now merges more than it needs; look whether NaN is still necessary."
    read = await reader.get_many([KEY], sufficient_expiration_time=float("nan"), beam_size=4)
    assert {subkey: entry.value for subkey, entry in read[KEY].value.items()} == {
        f"peer {index}": index for index in range(3)
    }, (
        "A sufficient expiration time of NaN no longer makes `get_many` ask every keeper of a shard and merge what "
        "they have: peers whose announcement is not on the nearest replica would be overlooked."
    )


async def test_looking_for_oneself_makes_one_known_to_others(daemons: list[P2P], start_node: StartNode) -> None:
    newcomer, bootnode, member = [await start_node(p2p) for p2p in daemons]
    await introduce(member, [bootnode])
    await introduce(newcomer, [bootnode])
    await newcomer.find_nearest_nodes([newcomer.node_id])
    await until_known(
        newcomer,
        member,
        "`find_nearest_nodes([own id])` no longer fills the routing tables: a peer that has met a bootnode "
        "would know of nobody else, and nobody of it.",
    )
    assert newcomer.protocol.routing_table.get(peer_id=bootnode.p2p.peer_id) == bootnode.node_id, (
        "`routing_table.get(peer_id=...)` is how bootnodes.py sees that it has fallen out of touch with a bootnode."
    )


async def test_a_ping_that_nobody_answers_is_none(daemons: list[P2P], start_node: StartNode) -> None:
    node = await start_node(daemons[0])
    assert await node.protocol.call_ping(daemons[1].peer_id) is None, (
        "`protocol.call_ping` tells bootnodes.py by None that a bootnode has no DHT node, and raises nothing."
    )


async def test_peers_that_were_silent_can_be_forgiven(daemons: list[P2P], start_node: StartNode) -> None:
    node = await start_node(daemons[0])
    node.blacklist.register_failure(daemons[1].peer_id)
    assert daemons[1].peer_id in node.blacklist
    node.blacklist.clear()
    assert daemons[1].peer_id not in node.blacklist, (
        "`blacklist.clear()` no longer lets a peer back in: those who fell silent in an outage would be left out for "
        "minutes after it."
    )


async def test_the_dht_reads_its_clock_where_it_can_be_replaced(
    daemons: list[P2P], start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, other = await start_node(daemons[0]), await start_node(daemons[1])
    hour_ago = time.time() - 3600
    for module in CLOCK_MODULES:
        monkeypatch.setattr(module, "get_dht_time", lambda: hour_ago)
    await introduce(node, [other])
    ends = hour_ago + 60  # long over by the machine's clock
    assert await node.store(KEY, subkey="QmPeer", value=b"record", expiration_time=ends, beam_size=4)
    for reader in (node, other):
        found = await reader.get_many([KEY], sufficient_expiration_time=float("nan"), beam_size=4)
        assert found[KEY] is not None and found[KEY].value["QmPeer"].value == b"record", (
            "hivemind reads the time elsewhere than by the name `get_dht_time` of these four modules: a node whose "
            "clock is wrong would throw away what others publish."
        )


def test_no_other_module_of_the_dht_holds_the_clock() -> None:
    holding = {
        name
        for name, module in sys.modules.items()
        if name.startswith("hivemind.dht.") and getattr(module, "get_dht_time", None) is not None
    }
    # hivemind.dht.dht is the wrapper process, which is imported along and never started.
    assert holding - {"hivemind.dht.dht"} == {"hivemind.dht.node", "hivemind.dht.protocol", "hivemind.dht.routing"}, (
        "the swarm's time must be set in every module that asks `get_dht_time`."
    )


# ------------------------------------------------------------------------------------------------- the storage


def test_the_storage_holds_no_more_than_its_maxsize() -> None:
    storage = DHTLocalStorage()
    storage.maxsize = 2  # set after it was made, as dht_records.py does
    for number in range(5):
        storage.store(DHTID.generate(source=str(number)), b"", get_dht_time() + 60 + number, subkey="peer")
    assert len(storage) == 2, "`storage.maxsize` no longer bounds what strangers can make a node keep."


def test_a_shard_can_be_counted_and_weeded() -> None:
    shard = DictionaryDHTValue()
    shard.store("live", b"record", get_dht_time() + 60)
    with shard.freeze():
        shard.store("dead", b"record", get_dht_time() - 60)
        assert dict(shard.items())["dead"] == (b"record", shard.data["dead"].expiration_time), (
            "validator.py takes entries apart as (value, expiration_time)."
        )
        assert set(shard.data) == {"live", "dead"}, "`DictionaryDHTValue.data` is what validator.py counts peers in."
        del shard["dead"]
    assert set(shard.data) == {"live"}, "`del shard[subkey]` is how validator.py removes what it doesn't believe."

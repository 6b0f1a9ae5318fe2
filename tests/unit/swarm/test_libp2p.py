"""The exchange among real peers, hostile ones included, through restarts and crashes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hivemind.p2p import P2P
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.errors import IdentityError, SwarmError
from rgym_exp.swarm.dht_records import DhtRecords
from rgym_exp.swarm.exchange import Exchange
from rgym_exp.swarm.identity import Identity
from rgym_exp.swarm.libp2p import LibP2PExchange
from rgym_exp.swarm.loop_thread import LoopThread
from rgym_exp.swarm.share import encode_share
from rgym_exp.swarm.transfer import HERE, PROTOCOL
from rgym_exp.types import Announcement, Completion, ReceivedShare, SharedGroup
from tests.unit.swarm.swarm_builders import (
    GENERATIONS,
    MAX_SLOTS,
    SWARM_ID,
    TASKS_DIGEST,
    make_announcement,
    make_share,
)

MakePeer = Callable[..., LibP2PExchange]


@pytest.fixture
def make_peer(identities: list[Identity]) -> Iterator[MakePeer]:
    peers: list[LibP2PExchange] = []

    def make(index: int, **options: Any) -> LibP2PExchange:
        settings: dict[str, Any] = {
            "identity_path": identities[index].path,
            "swarm_id": SWARM_ID,
            "tasks_digest": TASKS_DIGEST,
            "max_slots": MAX_SLOTS,
            "num_generations": GENERATIONS,
            "bootnodes": peers[0].visible_maddrs() if peers else (),
            **options,
        }
        peer = LibP2PExchange(**settings)
        peers.append(peer)
        return peer

    yield make
    for peer in peers:
        peer.close()


def publish(peer: Exchange, round: int, *, swarm_round: int | None = None, **changes: Any) -> Announcement:
    """Publish a share of ``round`` when the swarm is at ``swarm_round``: by default at that very round."""
    return peer.publish(
        make_share(peer.peer_id, round, **changes),
        swarm_round=round if swarm_round is None else swarm_round,
        model_name="maker/model",
        account="",
        mean_reward=0.5,
    )


def gather(peer: Exchange, round: int, enough: int = 8, seconds: float = 30) -> dict[str, ReceivedShare]:
    received = peer.start_gathering(round).close(timeout_seconds=seconds, enough_shares=enough)
    return {share.share.peer_id: share for share in received}


def gather_all(peer: Exchange, round: int, peer_ids: set[str]) -> dict[str, ReceivedShare]:
    """What ``peer`` gathers as soon as the announcements of these peers have spread to it."""
    received: dict[str, ReceivedShare] = {}

    def all_are_here() -> bool:
        received.update(gather(peer, round, enough=len(peer_ids)))  # each share once
        return received.keys() == peer_ids

    wait_until(all_are_here)
    return received


def drops_of(peer: Exchange, round: int) -> Counter[str]:
    """What it drops of the one share of a round, from which it must take nothing, as soon as it has met it."""
    dropped: Counter[str] = Counter()

    def has_dropped() -> bool:
        assert gather(peer, round) == {}
        dropped.update(peer.dropped())
        return dropped.total() > 0

    wait_until(has_dropped)
    return dropped


def test_what_three_peers_publish_each_of_them_gathers(make_peer: MakePeer) -> None:
    peers = [make_peer(index) for index in range(3)]
    for round in (4, 5):
        gatherings = [peer.start_gathering(round) for peer in peers]
        announcements = {peer.peer_id: publish(peer, round) for peer in peers}
        for peer, gathering in zip(peers, gatherings, strict=True):
            others = {other.peer_id for other in peers if other is not peer}
            received = {share.share.peer_id: share for share in gathering.close(timeout_seconds=30, enough_shares=2)}
            if received.keys() != others:  # an announcement had not spread yet when this peer stopped waiting
                received = gather_all(peer, round, others)
            for peer_id, share in received.items():
                assert share.announcement == announcements[peer_id]
                assert share.share == make_share(peer_id, round)
            assert set(peer.peers()) == others
            assert peer.dropped() == {}


def test_a_newcomer_waits_for_those_of_the_round_before(make_peer: MakePeer) -> None:
    member, newcomer = make_peer(0), make_peer(1)
    publish(member, 4)
    wait_until(lambda: member.peer_id in gather(newcomer, 4, enough=1))  # the announcement has spread
    third = make_peer(2)
    gathering = third.start_gathering(5)
    result: list[ReceivedShare] = []
    waiting = threading.Thread(target=lambda: result.extend(gathering.close(timeout_seconds=60, enough_shares=8)))
    waiting.start()
    publish(member, 5)
    waiting.join(60)
    assert [share.share.peer_id for share in result] == [member.peer_id]


@pytest.mark.parametrize("rounds_ahead", [0, 1], ids=["in the same round", "a round ahead of it"])
def test_a_peer_that_leaves_is_waited_for_no_longer(make_peer: MakePeer, rounds_ahead: int) -> None:
    stays, leaves = make_peer(0), make_peer(1)
    publish(leaves, 4)
    wait_until(lambda: leaves.peer_id in gather(stays, 4, enough=1))
    leaves.start_gathering(5)
    gathering = stays.start_gathering(5 + rounds_ahead)
    result: list[list[ReceivedShare]] = []
    waiting = threading.Thread(target=lambda: result.append(gathering.close(timeout_seconds=300, enough_shares=8)))
    waiting.start()
    leaves.close()
    waiting.join(60)
    assert result == [[]]
    assert leaves.peer_id not in stays.peers()


@pytest.mark.parametrize("noticed", [False, True], ids=["a moment ago", "noticed by now"])
def test_a_peer_whose_daemon_ended_first_still_publishes_its_leave_notice(make_peer: MakePeer, noticed: bool) -> None:
    stays, leaves = make_peer(0), make_peer(1)
    publish(leaves, 4)
    wait_until(lambda: leaves.peer_id in gather(stays, 4, enough=1))
    gathering = stays.start_gathering(5)
    records = leaves._records
    os.kill(records.p2p._child.pid, signal.SIGTERM)
    if noticed:
        wait_until(records.stopped.is_set)
    leaves.close()
    assert gathering.close(timeout_seconds=300, enough_shares=8) == []
    assert leaves.peer_id not in stays.peers()


def test_alone_a_peer_does_not_wait(make_peer: MakePeer) -> None:
    peer = make_peer(0)
    publish(peer, 4)
    assert gather(peer, 4, seconds=3600) == {}  # pytest's own time-out is far shorter


def test_other_tasks_are_left_alone_and_counted(make_peer: MakePeer) -> None:
    peer, other = make_peer(0), make_peer(1, tasks_digest="other")
    publish(other, 4, tasks_digest="other")
    assert set(drops_of(peer, 4)) == {"other_tasks"}


def test_publishing_in_anothers_name_or_too_much_is_a_mistake_of_the_caller(make_peer: MakePeer) -> None:
    peer = make_peer(0, max_share_bytes=500)
    with pytest.raises(ValueError, match="in the name of"):
        peer.publish(make_share("QmOther", 4), swarm_round=4, model_name="m", account="", mean_reward=0.0)
    noise = make_share(peer.peer_id, 4, tasks_digest=os.urandom(1000).hex())
    with pytest.raises(ValueError, match="more than the 500"):
        peer.publish(noise, swarm_round=4, model_name="m", account="", mean_reward=0.0)


def test_an_unusable_identity_or_swarm_id_is_refused(tmp_path: Path, make_peer: MakePeer) -> None:
    (tmp_path / "swarm.pem").write_bytes(b"")
    with pytest.raises(IdentityError, match="is empty"):
        make_peer(0, identity_path=tmp_path / "swarm.pem")
    with pytest.raises(SwarmError, match="swarm id"):
        make_peer(0, swarm_id="x" * 65)


def test_a_closed_exchange_is_quiet(make_peer: MakePeer) -> None:
    peer = make_peer(0)
    gathering = peer.start_gathering(4)
    peer.close()
    peer.close()
    assert gathering.close(timeout_seconds=30, enough_shares=1) == []
    assert gather(peer, 5) == {}
    publish(peer, 5)
    assert peer.peers() == []


class HostilePeer:
    """A peer that announces in order, signed and all, and then serves what a test wants it to."""

    def __init__(self, identity: Identity, bootnodes: list[str]) -> None:
        self._loop = LoopThread("hostile")
        self.records = self._loop.call(DhtRecords.create(identity=identity, swarm_id=SWARM_ID, bootnodes=bootnodes), 60)
        self.asked = threading.Event()

        self._loop.call(self.records.p2p.add_binary_stream_handler(PROTOCOL, self._handle), 30)
        self._answer, self._hangs = b"", False

    def serve(self, answer: bytes, *, hang: bool = False) -> None:
        """From now on: what to answer any request with, and whether to leave the stream open then."""
        self._answer, self._hangs = answer, hang

    async def _handle(self, info: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(32)
        self.asked.set()
        writer.write(self._answer)
        await writer.drain()
        if self._hangs:
            await asyncio.Event().wait()
        if len(self._answer) == 1:
            # On a busy machine a stream that we close at once may lose what was said: the one who asked closes it.
            await reader.read(1)
        writer.close()

    def announce(self, round: int, data: bytes, **changes: object) -> None:
        announcement = make_announcement(self.records.peer_id, round, data=data, **changes)
        assert self._loop.call(self.records.publish(announcement), 30)

    def close(self) -> None:
        self._loop.call(self.records.close(), 30)
        self._loop.end()


@pytest.fixture
def make_hostile(identities: list[Identity]) -> Iterator[Callable[[LibP2PExchange], HostilePeer]]:
    hostile: list[HostilePeer] = []

    def make(victim: LibP2PExchange) -> HostilePeer:
        hostile.append(HostilePeer(identities[3], victim.visible_maddrs()))
        return hostile[-1]

    yield make
    for peer in hostile:
        peer.close()


def framed(data: bytes) -> bytes:
    return HERE + len(data).to_bytes(4, "big") + data


def slots(*numbers: int) -> tuple[SharedGroup, ...]:
    completions = (Completion(text="a", ended=True),) * GENERATIONS
    return tuple(SharedGroup(slot=number, completions=completions) for number in numbers)


HOSTILITIES: list[tuple[str, dict[str, Any], Callable[[bytes], bytes], dict[str, Any]]] = [
    # reason counted, what is wrong with the share, what is sent when asked for it, what is wrong with the announcement
    ("wrong_digest", {}, lambda data: framed(data[:-1] + b"!"), {}),
    ("not_as_announced", {"peer_id": "QmAnother"}, lambda data: framed(data), {}),
    ("not_as_announced", {"round": 999}, lambda data: framed(data), {}),
    ("group_count", {"group_count": 3}, lambda data: framed(data), {}),
    ("slots", {"groups": slots(0, MAX_SLOTS)}, lambda data: framed(data), {}),
    ("slots", {"groups": slots(1, 1)}, lambda data: framed(data), {}),
    ("wrong_size", {}, lambda data: HERE + b"\xff\xff\xff\xff" + data, {}),
    ("fetch_failed", {}, lambda data: framed(data)[:-5], {}),
    ("fetch_failed", {}, lambda data: b"", {}),
    ("fetch_failed", {}, lambda data: b"\x77nonsense", {}),
    ("fetch_not_here", {}, lambda data: b"\x01", {}),
    ("share_too_large", {}, lambda data: framed(data), {"share_size": 2**31}),
    ("group_count", {}, lambda data: framed(data), {"group_count": 200}),
]


def test_what_a_hostile_peer_serves_is_dropped_and_counted(
    make_peer: MakePeer, make_hostile: Callable[[LibP2PExchange], HostilePeer]
) -> None:
    victim = make_peer(0)
    hostile = make_hostile(victim)
    for number, (reason, share_changes, answer, announcement_changes) in enumerate(HOSTILITIES):
        round = 3 * number  # further apart than late shares are looked for
        share = make_share(**{"peer_id": hostile.records.peer_id, "round": round, **share_changes})
        data = encode_share(share)
        hostile.serve(answer(data))
        hostile.announce(round, data, **announcement_changes)
        assert drops_of(victim, round) == {reason: 1}, HOSTILITIES[number]


def test_a_peer_that_hangs_does_not_hold_up_the_others(
    make_peer: MakePeer, make_hostile: Callable[[LibP2PExchange], HostilePeer]
) -> None:
    victim = make_peer(0, fetch_timeout_seconds=0.5)
    honest = make_peer(1)
    hostile = make_hostile(victim)
    own = encode_share(make_share(hostile.records.peer_id, 4))
    hostile.serve(framed(own)[:100], hang=True)
    publish(honest, 3)
    gather_all(victim, 3, {honest.peer_id})  # so that it is waited for
    hostile.announce(4, own)
    gathering = victim.start_gathering(4)
    publish(honest, 4)
    received = gathering.close(timeout_seconds=60, enough_shares=8)
    assert hostile.asked.is_set()
    assert [share.share.peer_id for share in received] == [honest.peer_id]
    assert victim.dropped() == {"fetch_timeout": 1}


def test_a_share_that_fits_its_announcement_is_taken_from_the_same_peer(
    make_peer: MakePeer, make_hostile: Callable[[LibP2PExchange], HostilePeer]
) -> None:
    victim = make_peer(0)
    hostile = make_hostile(victim)
    own = encode_share(make_share(hostile.records.peer_id, 4))
    hostile.serve(framed(own))
    hostile.announce(4, own)
    received = gather_all(victim, 4, {hostile.records.peer_id})[hostile.records.peer_id]
    assert received.announcement.share_digest == hashlib.sha256(own).hexdigest()


def test_a_bootnode_that_is_away_at_the_start_is_found_when_it_comes(
    make_peer: MakePeer, identities: list[Identity]
) -> None:
    port = free_port()
    address = f"/ip4/127.0.0.1/tcp/{port}/p2p/{identities[0].peer_id}"
    begin = time.monotonic()
    early = make_peer(1, bootnodes=[address])
    assert time.monotonic() - begin < 20
    make_peer(0, port=port, bootnodes=())
    late = make_peer(2, bootnodes=[address])
    publish(early, 4)
    wait_until(lambda: early.peer_id in gather(late, 4))


def test_peers_find_each_other_again_after_the_bootnode_restarted(
    make_peer: MakePeer, identities: list[Identity]
) -> None:
    port = free_port()
    bootnode = make_peer(0, port=port)
    address = f"/ip4/127.0.0.1/tcp/{port}/p2p/{identities[0].peer_id}"
    assert bootnode.visible_maddrs() == [address]
    old = make_peer(1)
    bootnode.close()
    make_peer(0, port=port, bootnodes=())
    # The newcomer can know of the old peer only through the bootnode, which has forgotten everything.
    newcomer = make_peer(2, bootnodes=[address])
    publish(old, 4)
    wait_until(lambda: old.peer_id in gather(newcomer, 4))
    publish(newcomer, 5)
    wait_until(lambda: newcomer.peer_id in gather(old, 5))


def test_a_peer_outlives_a_crash_of_its_daemon(make_peer: MakePeer) -> None:
    stable, crashing = make_peer(0), make_peer(1)
    daemon = crashing._records.p2p._child.pid
    publish(crashing, 4)
    wait_until(lambda: crashing.peer_id in gather(stable, 4, enough=1))
    os.kill(daemon, signal.SIGKILL)
    publish(crashing, 5)
    publish(stable, 5)
    wait_until(lambda: crashing.peer_id in gather(stable, 5))
    wait_until(lambda: stable.peer_id in gather(crashing, 5))


def test_a_peer_outlives_a_daemon_that_crashes_again_right_after_its_start(
    make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stable, crashing = make_peer(0), make_peer(1)
    start, daemons = crashing._server.start, []

    async def start_at_the_second_try(p2p: P2P) -> None:
        daemons.append(p2p)
        if len(daemons) == 1:
            raise P2PDaemonError("The daemon is gone.")
        await start(p2p)

    monkeypatch.setattr(crashing._server, "start", start_at_the_second_try)
    os.kill(crashing._records.p2p._child.pid, signal.SIGKILL)
    publish(crashing, 5)
    wait_until(lambda: crashing.peer_id in gather(stable, 5))
    assert daemons[0]._child.returncode is not None  # the one that was of no use does not linger


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Each look takes its own time (a gathering); a pause in between keeps a quick one from spinning."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.2)

"""The in-process swarm behaves as the real one does."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from rgym_exp.swarm.exchange import Exchange
from rgym_exp.swarm.share import encode_share
from rgym_exp.types import Announcement
from simulation.memory_exchange import MemoryExchange, MemorySwarm
from tests.unit.swarm.swarm_builders import (
    GENERATIONS,
    MAX_SLOTS,
    SWARM_ID,
    TASKS_DIGEST,
    make_announcement,
    make_share,
)


@pytest.fixture
def swarm() -> MemorySwarm:
    return MemorySwarm()


def peer(swarm: MemorySwarm, peer_id: str, tasks_digest: str = TASKS_DIGEST) -> Exchange:
    return MemoryExchange(
        swarm=swarm,
        peer_id=peer_id,
        swarm_id=SWARM_ID,
        tasks_digest=tasks_digest,
        max_slots=MAX_SLOTS,
        num_generations=GENERATIONS,
    )


def publish(exchange: Exchange, round: int, **changes: Any) -> Announcement:
    share = make_share(exchange.peer_id, round, **changes)
    return exchange.publish(share, swarm_round=round, model_name="m", account="", mean_reward=0.5)


def test_what_one_publishes_the_others_gather(swarm: MemorySwarm) -> None:
    a, b = peer(swarm, "QmA"), peer(swarm, "QmB")
    announcement = publish(a, 3)
    (received,) = b.start_gathering(3).close(timeout_seconds=10, enough_shares=8)
    assert received.share == make_share("QmA", 3)
    assert received.announcement == announcement
    assert b.peers() == ["QmA"]


def test_alone_nobody_waits(swarm: MemorySwarm) -> None:
    a = peer(swarm, "QmA")
    publish(a, 3)
    assert a.start_gathering(3).close(timeout_seconds=3600, enough_shares=8) == []  # pytest's own is far shorter


def test_a_peer_of_the_round_before_is_waited_for(swarm: MemorySwarm) -> None:
    a, b = peer(swarm, "QmA"), peer(swarm, "QmB")
    publish(b, 2)
    a.start_gathering(2).close(timeout_seconds=10, enough_shares=8)
    gathering = a.start_gathering(3)
    results: list[int] = []
    waiting = threading.Thread(target=lambda: results.append(len(gathering.close(timeout_seconds=60, enough_shares=8))))
    waiting.start()
    publish(b, 3)
    waiting.join(30)
    assert results == [1]


@pytest.mark.parametrize("reached", [2, 3], ids=["a round ahead of it", "in the same round"])
def test_a_peer_that_left_is_not_waited_for(swarm: MemorySwarm, reached: int) -> None:
    a, b = peer(swarm, "QmA"), peer(swarm, "QmB")
    publish(b, 2)
    a.start_gathering(2).close(timeout_seconds=10, enough_shares=8)
    gathering = a.start_gathering(3)
    results: list[int] = []
    waiting = threading.Thread(target=lambda: results.append(len(gathering.close(timeout_seconds=60, enough_shares=8))))
    waiting.start()
    if reached > 2:
        b.start_gathering(reached)
    b.close()
    waiting.join(30)
    assert results == [0]
    assert a.peers() == []


def test_a_share_that_came_too_late_for_a_round_is_gathered_once_in_a_later_one(swarm: MemorySwarm) -> None:
    a, b = peer(swarm, "QmA"), peer(swarm, "QmB")
    assert a.start_gathering(3).close(timeout_seconds=10, enough_shares=8) == []
    left_over = publish(b, 3)
    late = b.publish(make_share("QmB", 2), swarm_round=5, model_name="m", account="", mean_reward=0.5)
    (first,) = a.start_gathering(4).close(timeout_seconds=10, enough_shares=8, swarm_round=5)
    assert first.announcement == late
    (second,) = a.start_gathering(5).close(timeout_seconds=10, enough_shares=8)
    assert second.announcement == left_over
    assert a.start_gathering(6).close(timeout_seconds=0.1, enough_shares=8) == []


def test_other_tasks_are_counted_and_left_alone(swarm: MemorySwarm) -> None:
    a, b = peer(swarm, "QmA"), peer(swarm, "QmB", tasks_digest="other")
    publish(b, 3, tasks_digest="other")
    assert a.start_gathering(3).close(timeout_seconds=10, enough_shares=8) == []
    assert a.dropped() == {"other_tasks": 1}
    assert a.dropped() == {}


def test_tampered_bytes_are_counted_and_dropped(swarm: MemorySwarm) -> None:
    a = peer(swarm, "QmA")
    data = encode_share(make_share("QmEvil", 3))
    swarm.offer(make_announcement("QmEvil", 3, data=data), data + b"!")
    garbage = make_announcement("QmBad", 3, data=b"garbage")
    swarm.offer(garbage, b"garbage")
    liar = make_announcement("QmLiar", 3, data=data)
    swarm.offer(replace(liar), data)
    assert a.start_gathering(3).close(timeout_seconds=10, enough_shares=8) == []
    assert a.dropped() == {"wrong_digest": 1, "share_malformed": 1, "not_as_announced": 1}


def test_enough_is_enough_and_a_second_close_gives_the_same(swarm: MemorySwarm) -> None:
    for number in range(6):
        publish(peer(swarm, f"Qm{number}"), 3)
    gathering = peer(swarm, "QmA").start_gathering(3)
    first = gathering.close(timeout_seconds=10, enough_shares=4)
    assert len(first) == 4
    assert gathering.close(timeout_seconds=10, enough_shares=4) == first


def test_nobody_publishes_in_anothers_name(swarm: MemorySwarm) -> None:
    with pytest.raises(ValueError, match="in the name of"):
        peer(swarm, "QmA").publish(make_share("QmB", 3), swarm_round=3, model_name="m", account="", mean_reward=0.0)

"""A disk that is full costs no reward."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rgym_exp.chain.held_writes import HeldWrites
from rgym_exp.chain.outbox import Outbox


class SmallDisk:
    """An outbox, and how much its disk still takes."""

    def __init__(self, path: Path) -> None:
        self.outbox = Outbox(path, target="1:0xC", account="0xA")

    def fill(self) -> None:
        """From here on SQLite finds no room for another page."""
        pages = self.outbox._connection.execute("PRAGMA page_count").fetchone()[0]
        self.outbox._connection.execute(f"PRAGMA max_page_count = {pages}")

    def make_room(self) -> None:
        self.outbox._connection.execute("PRAGMA max_page_count = 100000")

    def rounds(self) -> list[int | None]:
        """Of the rewards in it."""
        return [row.round for row in self.outbox.transactions(10_000)[::-1] if row.kind == "reward"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path / "outbox.sqlite")
    yield made
    made.outbox.close()


def owe(held: HeldWrites, round: int) -> None:
    # Large enough for a page of its own.
    held.owe("reward", peer_id="Qm" + "A" * 4000, round=round, stage=0, payload={"reward": 5})


def test_with_room_a_reward_is_in_the_outbox_at_once(disk: SmallDisk) -> None:
    held = HeldWrites(disk.outbox)
    owe(held, 1)
    assert disk.rounds() == [1] and len(held) == 0


def test_on_a_full_disk_rewards_are_kept_and_said_once_and_handed_over_in_order_when_there_is_room(
    disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    held = HeldWrites(disk.outbox)
    disk.fill()
    with caplog.at_level(logging.INFO, logger="rl_swarm.chain"):
        for round in (1, 2, 3):
            owe(held, round)
        held.try_again()
        assert disk.rounds() == [] and len(held) == 3
        assert caplog.text.count("kept in memory until it fits") == 1
        assert "The reward of round 1 is kept in memory" in caplog.text
        disk.make_room()
        owe(held, 4)
    assert disk.rounds() == [1, 2, 3, 4] and len(held) == 0
    assert "The outbox has room again" in caplog.text


def test_what_does_not_fit_until_the_end_is_named(disk: SmallDisk, caplog: pytest.LogCaptureFixture) -> None:
    held = HeldWrites(disk.outbox)
    disk.fill()
    owe(held, 7)
    with caplog.at_level(logging.ERROR, logger="rl_swarm.chain"):
        held.give_up()
    assert "Lost, since the outbox had no room for them until the end: reward of round 7." in caplog.text


def test_at_the_end_it_is_tried_once_more(disk: SmallDisk, caplog: pytest.LogCaptureFixture) -> None:
    held = HeldWrites(disk.outbox)
    disk.fill()
    owe(held, 7)
    disk.make_room()
    held.give_up()
    assert disk.rounds() == [7]
    assert "Lost" not in caplog.text


def test_a_coordinator_counts_what_it_holds_and_sends_it_once_there_is_room(make_node, wait_until) -> None:
    node = make_node()
    node.register("QmFull")
    wait_until(lambda: node.pending() == 0)
    connection = node._outbox._connection
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    round, stage = node.round_and_stage()
    node.submit_winners(round=round, winners=["Qm" + "W" * 4000], peer_id="QmFull")
    node.submit_reward(round=round, stage=stage, reward=3, peer_id="QmFull")
    assert node.pending() == 2
    connection.execute("PRAGMA max_page_count = 100000")
    wait_until(lambda: node.pending() == 0)
    assert node.peer_totals("QmFull").total_reward == 3


def test_a_view_that_asks_all_the_time_what_waits_costs_no_write(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", target="t", account="0x1")
    held = HeldWrites(outbox)
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            held.try_again()

    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        try:
            for number in range(150):
                held.owe("reward", peer_id="QmA", round=number, stage=0, payload={"reward": 1})
        finally:
            is_over.set()
        for each in looking:
            each.result()
    assert sorted(row.round or 0 for row in outbox.transactions(1000)) == list(range(150))
    outbox.close()

"""Which round is played when the chain is ahead, behind, set back or away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rgym_exp.chain.coordinator import ChainUnavailable
from rgym_exp.config.load import load_config
from rgym_exp.config.paths import Home
from rgym_exp.node.current_round import SwarmRounds
from rgym_exp.node.round_settings import RoundSettings
from rgym_exp.types import contract_round, interim_count, interim_round
from simulation.memory_chain import MemoryChain, MemoryCoordinator
from tests.support.processes import wait_for


@dataclass
class Time:
    """A clock that goes on while somebody sleeps, and lets the next event happen then."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)
    events: Sequence[Callable[[], object]] = ()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self.events:
            event, *self.events = self.events
            event()


def nothing() -> None:
    """It stays as it is."""


class Node:
    """Plays rounds of a chain in memory."""

    def __init__(
        self, last_round: int | None = None, *, events: Sequence[Callable[[], object]] = (), resumed: bool = False
    ) -> None:
        self.chain = MemoryChain()
        self.time = Time(events=list(events))
        self.rounds = self.rounds_with(self.chain.coordinator("0x1"), last_round, resumed=resumed)

    def rounds_with(
        self,
        coordinator: MemoryCoordinator,
        last_round: int | None = None,
        *,
        last_interim: int = 0,
        resumed: bool = False,
        nobody_else_waits: Callable[[], bool] = lambda: False,
    ) -> SwarmRounds:
        return SwarmRounds(
            coordinator,
            last_round=last_round,
            last_interim=last_interim,
            resumed=resumed,
            poll_seconds=1,
            sleep=self.time.sleep,
            clock=lambda: self.time.now,
            nobody_else_waits=nobody_else_waits,
        )

    def play(self) -> tuple[int, int]:
        """The next round, played; as (round, interim)."""
        current = self.rounds.await_next()
        self.rounds.played(current.round, interim=current.interim)
        return current.round, current.interim

    def away(self) -> None:
        self.chain.available = False

    def back(self) -> None:
        self.chain.available = True


def test_the_first_round_is_the_one_the_swarm_is_at() -> None:
    node = Node()
    node.chain.advance()
    current = node.rounds.await_next()
    assert (current.round, current.stage, current.skipped, current.interim, current.number) == (1, 0, 0, 0, 1)


def test_a_node_waits_until_the_swarm_is_at_a_round_that_it_has_not_played() -> None:
    node = Node(2)
    node.chain.round = 2
    node.time.events = [nothing, nothing, node.chain.advance]
    assert node.play() == (3, 0)
    assert node.time.slept == [1, 1, 1]


def test_a_chain_that_seems_behind_for_a_moment_is_waited_for() -> None:
    node = Node(2)
    node.time.events = [node.chain.advance, node.chain.advance, node.chain.advance]
    assert node.play() == (3, 0)
    assert node.time.slept == [1, 1, 1]


def test_while_the_chain_is_away_the_pauses_grow_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    node = Node()
    node.away()
    node.time.events = [nothing] * 4 + [node.back]
    with caplog.at_level(logging.INFO, logger="rl_swarm.node"):
        assert node.play() == (0, 0)
    assert node.time.slept == [2, 4, 8, 15, 15]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("The chain does not answer") and said[1].startswith("The chain answers again")


def test_a_chain_that_goes_away_again_is_asked_as_often_as_the_first_time() -> None:
    node = Node(0)
    node.away()
    node.time.events = [node.away, node.away, node.back, node.away, node.away, node.back, node.chain.advance]
    assert node.play() == (1, 0)
    assert node.time.slept == [2, 4, 8, 1, 2, 4, 1]


class TestSetBack:
    def test_a_chain_that_stays_below_our_last_round_is_played_on_from(self, caplog: pytest.LogCaptureFixture) -> None:
        node = Node(5)
        node.chain.round = 3
        with caplog.at_level(logging.WARNING, logger="rl_swarm.node"):
            assert node.play() == (3, 0)
        assert sum(node.time.slept) == 30
        assert [each.getMessage() for each in caplog.records] == [
            "The chain was set back to round 3, from 5 at the least; playing on from there."
        ]
        node.time.events = [node.chain.advance]
        assert node.play() == (4, 0)

    def test_so_is_one_that_others_move_on_meanwhile(self) -> None:
        node = Node(500)
        node.chain.round = 3
        node.time.events = [nothing] * 9 + [node.chain.advance] + [nothing] * 9 + [node.chain.advance]
        assert node.play() == (5, 0)
        assert sum(node.time.slept) == 30

    def test_nothing_is_skipped_by_going_back(self) -> None:
        node = Node(500)
        assert node.rounds.await_next().skipped == 0

    def test_after_a_resume_the_round_played_last_is_played_once_more(self) -> None:
        node = Node(4, resumed=True)
        node.chain.round = 4
        assert node.play() == (4, 0)
        node.time.events = [node.chain.advance]
        assert node.play() == (5, 0)
        assert node.time.slept == [1]

    def test_that_is_so_on_the_first_look_only(self) -> None:
        node = Node(4, resumed=True)
        node.chain.round = 3
        node.time.events = [node.chain.advance, nothing, node.chain.advance]
        assert node.play() == (5, 0)


class TestHubAway:
    """The hub's silence, by a clock that no hand sets."""

    def test_after_a_minute_of_silence_training_goes_on_without_it(self, caplog: pytest.LogCaptureFixture) -> None:
        node = Node(11)
        node.chain.round = 12
        assert node.play() == (12, 0)
        node.away()
        with caplog.at_level(logging.INFO, logger="rl_swarm.node"):
            assert node.play() == (12, 1)
            assert sum(node.time.slept) == 60
            assert [node.play(), node.play()] == [(12, 2), (12, 3)]
        assert sum(node.time.slept) == 60
        assert [each.getMessage() for each in caplog.records if "silent" in each.getMessage()] == [
            "The hub has been silent for 60 s. Training on without it, with the peers that can still be heard; joining "
            "its round when it is back."
        ]

    def test_an_interim_round_has_a_number_of_its_own(self) -> None:
        node = Node(12)
        node.away()
        numbers = [node.rounds.await_next().number for _ in range(3)]
        assert [(contract_round(number), interim_count(number)) for number in numbers] == [(12, 1), (12, 2), (12, 3)]

    def test_interim_rounds_are_never_the_last_round_played(self) -> None:
        node = Node(12)
        node.chain.round = 12
        node.away()
        node.play(), node.play()
        assert node.rounds.last_round == 12
        node.back()
        node.chain.advance()
        assert node.play() == (13, 0)
        assert node.rounds.last_round == 13
        assert sum(node.time.slept) == 60, "a chain that returns doesn't look set back"

    def test_when_the_hub_is_back_its_round_is_joined_even_if_it_is_the_one_played_last(self) -> None:
        """Nobody else may have it: the hub's keeper would wait for announcements, and the nodes for a new round."""
        node = Node(12)
        node.chain.round = 12
        node.away()
        assert node.play() == (12, 1)
        node.back()
        assert node.play() == (12, 0)
        node.time.events = [node.chain.advance]
        assert node.play() == (13, 0)

    def test_a_second_absence_in_the_same_round_counts_on(self) -> None:
        node = Node(12)
        node.chain.round = 12
        node.away()
        assert [node.play(), node.play()] == [(12, 1), (12, 2)]
        node.back()
        assert node.play() == (12, 0)
        node.away()
        assert node.play() == (12, 3)
        assert sum(node.time.slept) == 120, "a new silence is a minute again"

    def test_a_later_round_counts_anew(self) -> None:
        node = Node(12)
        node.chain.round = 12
        node.away()
        assert node.play() == (12, 1)
        node.back()
        node.chain.advance()
        assert node.play() == (13, 0)
        node.away()
        assert node.play() == (13, 1)

    def test_a_node_that_starts_meanwhile_waits_a_minute_and_counts_from_what_it_knows(self) -> None:
        for last_round, base in ((None, 0), (7, 7)):
            node = Node(last_round, resumed=last_round is not None)
            node.away()
            assert node.play() == (base, 1)
            assert node.rounds.last_round == last_round
            assert sum(node.time.slept) == 60

    def test_a_node_that_restarts_meanwhile_counts_on(self) -> None:
        """Else it would train once more on the problems of rounds that its weights have seen."""
        node = Node(12)
        node.away()
        assert [node.play(), node.play()] == [(12, 1), (12, 2)]
        last = node.rounds
        node.rounds = node.rounds_with(
            node.chain.coordinator("0x1"), last.last_round, last_interim=last.last_interim, resumed=True
        )
        assert node.play() == (12, 3)
        node.back()
        node.chain.round = 13
        assert node.play() == (13, 0)
        assert node.rounds.last_interim == 0

    def test_a_round_that_was_heard_of_while_another_was_played_is_the_one_to_count_from(self) -> None:
        node = Node(12)
        node.chain.round = 13
        current = node.rounds.await_next()
        node.chain.advance()
        assert node.rounds.reached(current) == 14
        node.rounds.played(current.round)
        node.away()
        assert node.play() == (14, 1)
        assert node.rounds.last_round == 13

    def test_a_question_that_gets_no_answer_holds_up_no_interim_round(self) -> None:
        node = Node(12)
        silent = SilentCoordinator(node.chain)
        rounds = node.rounds_with(silent, 12)
        node.away()
        assert rounds.await_next().interim == 1
        silent.held.clear()
        assert [rounds.await_next().interim, rounds.await_next().interim] == [2, 3]
        asked = silent.asked
        node.back()
        node.chain.round = 14
        silent.held.set()
        wait_for(lambda: silent.answered == asked, what="the answer to the question that was under way")
        assert rounds.await_next().round == 14


class SilentCoordinator(MemoryCoordinator):
    """One whose questions can be kept without an answer."""

    def __init__(self, chain: MemoryChain) -> None:
        super().__init__(chain, "0x1")
        self.held = threading.Event()
        self.held.set()
        self.asked = self.answered = 0

    def round_and_stage(self) -> tuple[int, int]:
        self.asked += 1
        try:
            if not self.held.wait(30):
                raise ChainUnavailable("nobody let the question go")
            return super().round_and_stage()
        finally:
            self.answered += 1


class LongPolling(MemoryCoordinator):
    """One that can be asked to wait for the next round."""

    def __init__(self, chain: MemoryChain) -> None:
        super().__init__(chain, "0x1")
        self.after: list[int | None] = []

    def round_and_stage(self, *, after: int | None = None) -> tuple[int, int]:
        self.after.append(after)
        return super().round_and_stage()


def test_a_coordinator_that_can_wait_for_a_round_is_told_which_one_is_played() -> None:
    node = Node()
    polling = LongPolling(node.chain)
    node.rounds = node.rounds_with(polling, 0, resumed=True)
    node.time.events = [node.chain.advance]
    assert [node.play(), node.play()] == [(0, 0), (1, 0)]
    assert polling.after == [None, 0, 0], "the first look after a resume wants to know at once"


def test_alone_with_a_clock_a_round_begins_when_the_last_one_is_over() -> None:
    node = Node()
    others: list[str] = []
    node.rounds = node.rounds_with(node.chain.coordinator("0x1"), nobody_else_waits=lambda: not others)
    assert [node.play() for _ in range(3)] == [(0, 0), (0, 1), (0, 2)]
    assert node.time.slept == []
    # The clock's own rounds are where somebody who comes would look for this node: none is left out.
    node.chain.advance()
    assert [node.play() for _ in range(2)] == [(1, 0), (1, 1)]
    # Somebody came, who waits for the clock.
    others.append("bea")
    node.time.events = [nothing, node.chain.advance]
    assert node.play() == (2, 0)
    assert node.time.slept == [1, 1]


def test_rounds_played_alone_are_counted_on_after_a_resume() -> None:
    node = Node()
    node.chain.round = 7
    node.rounds = node.rounds_with(
        node.chain.coordinator("0x1"),
        7,
        last_interim=interim_round(7, 3),
        resumed=True,
        nobody_else_waits=lambda: True,
    )
    assert [node.play() for _ in range(2)] == [(7, 0), (7, 4)]


@pytest.mark.parametrize(
    ("network", "overrides", "alone"),
    [
        ("offline", [], True),
        ("local", ["blockchain.coordinator=offline"], True),
        ("local", [], False),
        ("offline", [f"communications.bootnodes=[/ip4/203.0.113.5/tcp/38600/p2p/Qm{'a' * 44}]"], False),
    ],
)
def test_only_a_node_of_a_clock_without_bootnodes_goes_on_alone(
    network: str, overrides: list[str], alone: bool, tmp_path: Path
) -> None:
    config = load_config(Home(root=tmp_path), network=network, overrides=overrides, environ={})
    assert RoundSettings.of(config).goes_on_alone is alone

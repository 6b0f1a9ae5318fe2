"""Waiting for a round when the chain is ahead, behind or away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import pytest

from rgym_exp.node.current_round import await_current_round
from simulation.memory_chain import MemoryChain


def waits(events: Sequence[Callable[[], object]]) -> tuple[list[float], Callable[[float], None]]:
    """A sleep that records how long it was, and lets the next event happen."""
    slept: list[float] = []
    left = list(events)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        left.pop(0)()

    return slept, sleep


def test_the_first_round_is_the_one_the_swarm_is_at() -> None:
    chain = MemoryChain()
    chain.advance()
    current = await_current_round(chain.coordinator("0x1"), None, poll_seconds=1, sleep=lambda seconds: None)
    assert (current.round, current.stage, current.skipped) == (1, 0, 0)


def test_a_node_ahead_of_the_chain_waits_until_it_has_caught_up() -> None:
    chain = MemoryChain()
    slept, sleep = waits([chain.advance, chain.advance, chain.advance])
    assert await_current_round(chain.coordinator("0x1"), 2, poll_seconds=1, sleep=sleep).round == 3
    assert slept == [1, 1, 1]


def test_while_the_chain_is_away_the_pauses_grow_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    chain = MemoryChain()
    chain.available = False

    def nothing() -> None:
        """Still away."""

    def back() -> None:
        chain.available = True

    slept, sleep = waits([nothing] * 5 + [back])
    with caplog.at_level(logging.INFO, logger="rl_swarm.node"):
        assert await_current_round(chain.coordinator("0x1"), None, poll_seconds=1, sleep=sleep).round == 0
    assert slept == [2, 4, 8, 15, 15, 15]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("The chain does not answer") and said[1].startswith("The chain answers again")


def test_a_chain_that_goes_away_again_is_asked_as_often_as_the_first_time() -> None:
    chain = MemoryChain()
    chain.available = False

    def away() -> None:
        chain.available = False

    def back() -> None:
        chain.available = True

    slept, sleep = waits([away, away, back, away, away, back, chain.advance])
    assert await_current_round(chain.coordinator("0x1"), 0, poll_seconds=1, sleep=sleep).round == 1
    assert slept == [2, 4, 8, 1, 2, 4, 1]

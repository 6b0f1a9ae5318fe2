"""The swarm's time on a machine whose own clock is wrong."""

from __future__ import annotations

import math

import pytest

from rgym_exp.base.swarm_clock import SwarmClock


class Machine:
    """A machine's two clocks: one that only goes on, and one that people set."""

    def __init__(self) -> None:
        self.up, self.wall = 100.0, 1.7e9

    def clock(self) -> SwarmClock:
        return SwarmClock(clock=lambda: self.up, wall_clock=lambda: self.wall)


def test_before_a_hub_was_heard_it_is_the_machines_clock() -> None:
    assert Machine().clock().now() == 1.7e9


def test_it_follows_the_hub_by_half_the_round_trip() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.observe(1.7e9 + 2400, sent=100.0, received=102.0)
    machine.up = 102.0
    assert clock.now() == pytest.approx(1.7e9 + 2401)


def test_setting_the_machines_clock_while_it_runs_changes_nothing() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall -= 3600
    machine.up += 5
    assert clock.now() == 1.7e9 + 5


def test_the_quickest_of_the_last_answers_counts() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.observe(1.7e9, sent=100.0, received=100.1)
    clock.observe(1.7e9 + 30, sent=100.0, received=110.0)
    assert clock.now() == pytest.approx(1.7e9 - 0.05)


def test_a_machine_that_slept_follows_at_the_first_answer_and_is_not_told_off(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    clock = machine.clock()
    clock.observe(1.7e9, sent=100.0, received=100.02)
    machine.wall += 3600  # while the monotonic clock stood still
    clock.observe(1.7e9 + 3600, sent=100.0, received=100.05)
    assert clock.now() == pytest.approx(1.7e9 + 3600, abs=0.1)
    assert not caplog.records


@pytest.mark.parametrize("hub_time", [math.nan, -1.0, 1e300])
def test_nonsense_is_left_aside(hub_time: float) -> None:
    clock = Machine().clock()
    clock.observe(hub_time, sent=100.0, received=100.1)
    assert clock.now() == 1.7e9


@pytest.mark.parametrize(
    ("ahead", "said"), [(2400, "40 min ahead of"), (-3600, "60 min behind"), (90, "90 s ahead of"), (30, None)]
)
def test_a_clock_that_is_off_by_more_than_a_minute_is_said_once(
    caplog: pytest.LogCaptureFixture, ahead: float, said: str | None
) -> None:
    machine = Machine()
    machine.wall += ahead
    clock = machine.clock()
    for _ in range(3):
        clock.observe(1.7e9, sent=100.0, received=100.0)
    sentences = [record.getMessage() for record in caplog.records]
    assert len(sentences) == (said is not None)
    assert said is None or said in sentences[0]

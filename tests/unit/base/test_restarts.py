"""The pauses before a process that ended by itself is started again."""

from __future__ import annotations

from rgym_exp.base.restarts import RestartPauses


class Process:
    """One that lives for so many seconds after each start."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses = RestartPauses(first_seconds=1, longest_seconds=10, steady_seconds=30, clock=lambda: self.now)

    def pause_after(self, seconds: float) -> float:
        self.pauses.began()
        self.now += seconds
        return self.pauses.ended()


def test_the_pauses_double_up_to_the_longest_while_it_dies_soon() -> None:
    process = Process()
    assert [process.pause_after(0.1) for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_one_that_lived_for_a_while_is_started_again_soon() -> None:
    process = Process()
    assert [process.pause_after(seconds) for seconds in (0, 0, 0, 30, 0)] == [1, 2, 4, 1, 2]


def test_after_weeks_of_dying_there_is_still_a_pause() -> None:
    process = Process()
    assert [process.pause_after(0) for _ in range(2000)][-1] == 10

"""A budget of bytes that refills by the second."""

from __future__ import annotations

from rgym_exp.swarm.byte_budget import ByteBudget


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_is_refilled_by_the_second_up_to_its_burst() -> None:
    clock = Clock()
    budget = ByteBudget(per_second=10, burst=100, clock=clock)
    budget.take(150)
    assert budget.is_spent
    clock.now = 5.0
    assert budget.is_spent  # exactly nothing is left
    clock.now = 5.1
    assert not budget.is_spent
    clock.now = 1000.0
    assert budget.is_full

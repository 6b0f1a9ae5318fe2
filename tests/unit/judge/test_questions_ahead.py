"""The drawing ahead goes on, whatever a draw ends with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from rgym_exp.errors import SwarmUserError
from rgym_exp.judge import questions_ahead
from rgym_exp.judge.question_stock import Drawn
from rgym_exp.judge.questions_ahead import QuestionsAhead
from rgym_exp.types import Problem

Drawing = Future[tuple[list[Drawn], float]]


def stumbling_over(*errors: Exception) -> Callable[[int], Drawing]:
    """Draws, but fails with each of these first."""
    left = list(errors)

    def draw(count: int) -> Drawing:
        future = Drawing()
        if left:
            future.set_exception(left.pop(0))
            return future
        problem = Problem(slot=-1, dataset="d", question="q", entry={})
        future.set_result(([Drawn(number=number, problem=problem) for number in range(count)], 0.0))
        return future

    return draw


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions_ahead, "RETRY_SECONDS", 0.0)


async def test_a_generator_that_stumbles_over_a_number_is_logged_once_and_others_are_drawn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    draw = stumbling_over(ZeroDivisionError("division by zero"), KeyError("answer"), ZeroDivisionError())
    troubles: list[SwarmUserError] = []
    questions = QuestionsAhead(draw, on_trouble=troubles.append)
    questions.begin()
    try:
        async with asyncio.timeout(10):
            await questions.until(3)
    finally:
        await questions.close()
    assert len(questions.take(3)) == 3
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]
    assert troubles == []


async def test_a_source_that_fails_is_told_and_asked_again() -> None:
    troubles: list[SwarmUserError] = []
    questions = QuestionsAhead(stumbling_over(SwarmUserError("The tasks are gone.")), on_trouble=troubles.append)
    questions.begin()
    try:
        async with asyncio.timeout(10):
            await questions.until(1)
    finally:
        await questions.close()
    assert [str(trouble) for trouble in troubles] == ["The tasks are gone."]

"""Draws a judge's questions in the background, a little at a time, and lets whoever needs some wait for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future

from rgym_exp.errors import SwarmUserError
from rgym_exp.judge.question_stock import Drawn, QuestionStock
from rgym_exp.types import Problem

log = logging.getLogger("rl_swarm.judge")

AT_ONCE = 8
REST = 31.0
"""After drawing, so many times as long of a rest: 3 % of a core at most."""
RETRY_SECONDS = 5.0

Draw = Callable[[int], "Future[tuple[list[Drawn], float]]"]
"""Draws so many in another thread; with the seconds of processor time that it took. Raises a SwarmUserError."""


class QuestionsAhead:
    """A stock of questions and the task that fills it. Lives on one event loop."""

    def __init__(self, draw: Draw, *, on_trouble: Callable[[SwarmUserError], None]) -> None:
        self._draw = draw
        self._on_trouble = on_trouble
        self._stock = QuestionStock()
        self._changed = asyncio.Event()
        """Set when questions were drawn or taken; another event takes its place then."""
        self._task: asyncio.Task[None] | None = None
        self._mistaken = False
        """Whether a mistake was told; the log has the first alone."""

    def begin(self) -> None:
        """Draw from now on; harmless when done twice."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_drawing(), name="judge's questions")

    async def close(self) -> None:
        """Draw no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def has(self, count: int) -> bool:
        """Whether ``take`` would give so many now."""
        return self._stock.has(count)

    async def until(self, count: int) -> None:
        """Return when there are so many. Nobody else may take them before the caller's next ``await``."""
        while not self._stock.has(count):
            await self._changed.wait()

    def take(self, count: int) -> list[Drawn]:
        """So many different questions."""
        taken = self._stock.take(count)
        self._tell_changed()
        return taken

    def problem(self, number: int) -> Problem | None:
        """The problem of this number, if it is still remembered."""
        return self._stock.problem(number)

    async def _keep_drawing(self) -> None:
        while True:
            if not self._stock.wanted:
                await self._changed.wait()
                continue
            try:
                drawn, seconds = await asyncio.wrap_future(self._draw(min(AT_ONCE, self._stock.wanted)))
            except SwarmUserError as error:
                self._on_trouble(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except Exception:  # A generator that stumbles over one number: there are others.
                self._tell_mistake()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for each in drawn:
                self._stock.add(each)
            self._tell_changed()
            if self._stock.has_enough:
                await asyncio.sleep(REST * seconds)

    def _tell_mistake(self) -> None:
        """Log the exception that is being handled, with its traceback, if it is the first."""
        if not self._mistaken:
            log.exception("A question can't be drawn, by a mistake in a generator; others are drawn in its place.")
        self._mistaken = True

    def _tell_changed(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

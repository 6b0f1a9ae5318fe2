"""An asyncio loop in a thread of its own, and the way in and out of it for synchronous callers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

_END_SECONDS = 10.0
_T = TypeVar("_T")

logger = logging.getLogger("rl_swarm.swarm")


class LoopThread:
    """Runs from construction until ``end``. ``call`` and ``soon`` are for other threads, ``spawn`` for the loop."""

    def __init__(self, name: str) -> None:
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()  # many small messages: quicker than asyncio
        # The DHT library leaves tasks behind whose failure nobody awaits; a dead peer is no news for the terminal.
        self._loop.set_exception_handler(_log_quietly)
        self._spawned: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, _T], timeout_seconds: float) -> _T:
        """Run ``work`` on the loop and wait for its result.

        Raises:
            TimeoutError: it took too long, or was cancelled; it is cancelled then.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_seconds)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            future.cancel()
            raise TimeoutError from None

    def soon(self, function: Callable[..., object], *arguments: object) -> None:
        """Have ``function`` called on the loop; returns at once."""
        self._loop.call_soon_threadsafe(function, *arguments)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a background task; on the loop only."""
        task = self._loop.create_task(work)
        self._spawned.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._spawned.discard)

    async def stop_spawned(self) -> None:
        """Cancel the background tasks and wait for them; on the loop only."""
        tasks = list(self._spawned)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def end(self) -> None:
        """Cancel whatever is left, stop the loop and join the thread."""
        try:
            self.call(_cancel_all(), 2 * _END_SECONDS)
        except TimeoutError:
            logger.warning("Some work on the exchange's loop did not end in order.")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_END_SECONDS)


def _log_quietly(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    logger.debug("On the exchange's loop: %s", context.get("message"), exc_info=context.get("exception"))

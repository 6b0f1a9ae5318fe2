"""A node of the DHT that outlives its daemon: a p2pd that ended by itself is replaced, with growing pauses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.base.restarts import RestartPauses
from rgym_exp.errors import SwarmError
from rgym_exp.swarm.dht_records import DhtRecords
from rgym_exp.swarm.shards import Slice
from rgym_exp.types import Announcement

logger = logging.getLogger("rl_swarm.swarm")

Open = Callable[[], Awaitable[DhtRecords]]
"""Starts a node of the DHT, each time at the same addresses. Raises SwarmError."""


class LastingRecords:
    """``DhtRecords`` after ``DhtRecords``; make it with ``create``, and have ``keep`` run. All belongs to one loop."""

    def __init__(self, records: DhtRecords, open: Open) -> None:
        self.current = records
        """The one there is now; it may have stopped a moment ago."""
        self.trouble: str | None = None
        """A sentence while there is none that works."""
        self._open = open
        self._round: int | None = None
        self._pauses = RestartPauses()

    @classmethod
    async def create(cls, open: Open) -> LastingRecords:
        """Start the first one. Raises what ``open`` does: what can't be started once is a matter for people."""
        return cls(await open(), open)

    async def keep(self, on_replaced: Callable[[], None] = lambda: None) -> None:
        """Replace the daemon whenever it ends by itself, until cancelled; ``on_replaced`` is called after each time."""
        while True:
            self._pauses.began()
            await self.current.stopped.wait()
            self.trouble = "The peer-to-peer daemon (p2pd) ended by itself. It is started again."
            await self.current.close()
            while self.trouble is not None:
                pause = self._pauses.ended()
                logger.warning("%s Starting it again in %.1f s.", self.trouble, pause)
                await asyncio.sleep(pause)
                self._pauses.began()
                try:
                    self.current = await self._open()
                except SwarmError as error:
                    self.trouble = str(error)
                else:
                    self.trouble = None
            if self._round is not None:
                self.current.set_round(self._round)
            on_replaced()

    async def replace_if_stopped(self) -> bool:
        """For the end of a life, when ``keep`` was cancelled: have a daemon that works. Whether it is a new one.

        Raises SwarmError: none can be started.
        """
        if self.trouble is None and await self.current.is_alive():
            return False
        await self.current.close()
        self.current, self.trouble = await self._open(), None
        if self._round is not None:
            self.current.set_round(self._round)
        return True

    def set_round(self, round_number: int) -> None:
        """See ``DhtRecords``."""
        self._round = round_number
        self.current.set_round(round_number)

    @property
    def level(self) -> int:
        """See ``DhtRecords``."""
        return self.current.level

    async def read(self, round: int, *parts: Slice, thorough: bool = True) -> list[Announcement]:
        """See ``DhtRecords``. Raises SwarmError while there is no daemon."""
        with self._troubles_named():
            return await self.current.read(round, *parts, thorough=thorough)

    async def survey(self, round: int, *, sweep: bool = False) -> list[Announcement]:
        """See ``DhtRecords``. Raises SwarmError while there is no daemon."""
        with self._troubles_named():
            return await self.current.survey(round, sweep=sweep)

    async def close(self) -> None:
        """Leave the DHT; ``keep`` must have been cancelled."""
        await self.current.close()

    @contextmanager
    def _troubles_named(self) -> Iterator[None]:
        if self.trouble is not None:
            raise SwarmError(self.trouble)
        try:
            yield
        except (P2PDaemonError, OSError, EOFError) as error:
            raise SwarmError(f"The peer-to-peer daemon (p2pd) does not answer: {error}") from error

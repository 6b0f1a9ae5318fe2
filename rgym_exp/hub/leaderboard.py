"""The leaderboard: rows put together in the background every few seconds, and served from memory.

No request costs a call to the chain, a look into a file, or more than joining strings.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from rgym_exp.base.outage import Outage
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.coordinator import ChainError
from rgym_exp.errors import HubError
from rgym_exp.hub.follower import Follower
from rgym_exp.hub.leaderboard_page import MAX_PEERS_SHOWN, Page, plain_table
from rgym_exp.hub.ledger import Ledger, Tally
from rgym_exp.hub.ranking import JudgeTally, rank

log = logging.getLogger("rl_swarm.hub.leaderboard")

REFRESH_SECONDS = 5.0
BALANCES_AT_ONCE = 25
"""Balances asked of the market in one refresh: with 500 peers on the leaderboard, each is at most 100 s old."""
ONE_TOKEN = 10**18

Balances = Callable[[Sequence[str]], Mapping[str, int]]
"""Peer ids -> what each may bet, in the token's smallest unit, as far as known. May block, and raise ChainError."""


class JudgeTallies(Protocol):
    """What the hub's judge has scored so far."""

    def tallies(self) -> Mapping[str, JudgeTally]:
        """By peer id. May block; raises sqlite3.Error when its file can't be read."""
        ...


class ReadableMarket(Protocol):
    """The market's contract as far as balances are concerned: ``MarketContract``."""

    def read(self, function: str, *arguments: Any) -> Any:
        """The value of a view. Raises ChainError."""
        ...


class MarketBalances:
    """``Balances`` of a market: a bounded number is asked each time, in turns, and the others are remembered."""

    def __init__(self, market: ReadableMarket, *, at_once: int = BALANCES_AT_ONCE) -> None:
        self._market = market
        self._at_once = at_once
        self._known: dict[str, int] = {}
        """Peer id -> balance, least recently asked first."""

    def __call__(self, peer_ids: Sequence[str]) -> Mapping[str, int]:
        """The balances of these peers, as far as they were ever asked. Raises ChainError when the market can't be."""
        wanted = set(peer_ids)
        self._known = {peer: balance for peer, balance in self._known.items() if peer in wanted}
        unknown = [peer for peer in peer_ids if peer not in self._known]
        for peer in [*unknown, *self._known][: self._at_once]:
            balance = int(self._market.read("betTokenBalance", peer))
            self._known.pop(peer, None)
            self._known[peer] = balance
        return dict(self._known)


@dataclass(frozen=True, kw_only=True)
class _Snapshot:
    """What requests are answered from."""

    page: Page
    """Its ``updated`` is 0; the age is that of ``made``."""
    rows: tuple[str, ...]
    """Each peer as JSON."""
    made: float
    """Monotonic seconds."""


class Leaderboard:
    """Rows of one swarm. ``refresh`` and ``run`` make them, ``page`` and ``json_page`` show them."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        follower: Follower,
        swarm_round: Callable[[], int],
        judge: JudgeTallies | None = None,
        balances: Balances | None = None,
        models: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        """
        Args:
            swarm_round: the round that it is, -1 while unknown; called often, so it must not ask the chain.
            models: peer id -> the model that it announced.
        """
        self._ledger = ledger
        self._follower = follower
        self._swarm_round = swarm_round
        self._judge = judge
        self._balances = balances
        self._models = models
        self._bet_tokens: Mapping[str, float] = {}
        page = Page(round=-1, peer_count=0, updated=0.0, trouble=None, peers=())
        self._snapshot = _Snapshot(page=page, rows=(), made=time.monotonic())

    async def run(self) -> None:
        """Follow the contract and put the rows together, again and again until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follower.run(), name="ledger")
            group.create_task(self._keep_fresh(), name="leaderboard rows")

    async def _keep_fresh(self) -> None:
        outage = Outage(log, failing="The leaderboard's rows are not up to date: %s")
        while True:
            models = dict(self._models()) if self._models else {}
            try:
                await asyncio.to_thread(self.refresh, models)
                outage.works()
            except (HubError, ChainError, sqlite3.Error) as error:
                outage.fails(error)
            await asyncio.sleep(REFRESH_SECONDS)

    def refresh(self, models: Mapping[str, str] | None = None) -> None:
        """Put the rows together anew. Blocking. Raises a HubError or sqlite3.Error when a file can't be read: then the
        rows are those of before. Raises a ChainError when the market can't be: then they have the old balances."""
        tallies = self._ledger.leaders(MAX_PEERS_SHOWN)
        judged = self._judge.tallies() if self._judge else {}
        self._show(tallies, judged, models or {})
        if self._balances:
            balances = self._balances([tally.peer_id for tally in tallies])
            self._bet_tokens = {peer: round(amount / ONE_TOKEN, 4) for peer, amount in balances.items()}
            self._show(tallies, judged, models or {})

    def _show(self, tallies: Sequence[Tally], judged: Mapping[str, JudgeTally], models: Mapping[str, str]) -> None:
        now = self._swarm_round()
        rows = rank(tallies, swarm_round=now, judged=judged, bet_tokens=self._bet_tokens, models=models)
        count = self._ledger.peer_count()
        page = Page(round=now, peer_count=count, updated=0.0, trouble=None, peers=tuple(rows))
        as_json = tuple(json.dumps(row) for row in page.as_json()["peers"])
        self._snapshot = _Snapshot(page=page, rows=as_json, made=time.monotonic())

    def page(self, limit: int = MAX_PEERS_SHOWN) -> Page:
        """The first peers."""
        snapshot = self._snapshot
        return replace(
            snapshot.page,
            updated=round(time.monotonic() - snapshot.made, 1),
            trouble=self._follower.outage.trouble,
            peers=snapshot.page.peers[:limit],
        )

    def json_page(self, limit: int = MAX_PEERS_SHOWN) -> str:
        """``page`` as JSON: ``{"round", "peer_count", "updated", "trouble", "peers": [...]}``."""
        head = self.page(0).as_json()
        del head["peers"]
        return f'{json.dumps(head)[:-1]}, "peers": [{", ".join(self._snapshot.rows[:limit])}]}}'


@asynccontextmanager
async def keeping_leaderboard(
    *,
    file: Path,
    contract: SwarmContract,
    own_chain: bool,
    swarm_round: Callable[[], int],
    judge: JudgeTallies | None = None,
    balances: Balances | None = None,
    models: Callable[[], Mapping[str, str]] | None = None,
    is_new: bool = False,
) -> AsyncIterator[Leaderboard]:
    """A leaderboard that is kept up for as long as the context lasts. It never ends a hub: what stops it is logged.

    Args:
        file: the ledger.
        own_chain: the chain is the hub's devnet.
        swarm_round, judge, balances, models: as for ``Leaderboard``.
        is_new: the contract was deployed at this start.
    """

    def opened() -> Ledger:
        return Ledger(file, chain_id=contract.chain_id, contract=contract.address, is_new=is_new)

    ledger = await asyncio.to_thread(opened)
    leaderboard = Leaderboard(
        ledger=ledger,
        follower=Follower(contract, ledger, own_chain=own_chain),
        swarm_round=swarm_round,
        judge=judge,
        balances=balances,
        models=models,
    )
    task = asyncio.create_task(leaderboard.run(), name="leaderboard")
    task.add_done_callback(_say_how_it_ended)
    try:
        yield leaderboard
    finally:
        task.cancel()
        await asyncio.wait([task])
        await asyncio.to_thread(ledger.close)


def _say_how_it_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("The leaderboard ended by a mistake of ours; the hub goes on without.", exc_info=error)


def leaderboard_routes(leaderboard: Leaderboard) -> list[web.RouteDef]:
    """``GET /leaderboard``: JSON, or a table for ``Accept: text/plain``; ``?limit=`` 1 to MAX_PEERS_SHOWN."""

    async def get_leaderboard(request: web.Request) -> web.Response:
        limit = _limit(request.query.get("limit"))
        headers = {"Vary": "Accept"}
        if "text/plain" in request.headers.get("Accept", ""):
            return web.Response(text=plain_table(leaderboard.page(limit)), headers=headers)
        return web.Response(text=leaderboard.json_page(limit), content_type="application/json", headers=headers)

    return [web.get("/leaderboard", get_leaderboard)]


def _limit(text: str | None) -> int:
    if text is None:
        return MAX_PEERS_SHOWN
    if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1:
        return min(int(text), MAX_PEERS_SHOWN)
    raise web.HTTPBadRequest(text="limit is a whole number from 1: how many peers to show.\n")

"""``GET /round``: the contract's round out of the keeper's memory, at once or when it moves.

    GET /round?after=N&wait=S -> {round, stage, time, waited, protocol, contract}

With ``after`` and ``wait`` the answer comes when the round is beyond N, or after S seconds with what it is then. A
thousand nodes that wait cost one sleeping task each and not one look at the chain. ``time`` is the hub's clock (seconds
since the epoch) when the answer leaves, ``waited`` the seconds that the request lay here: with both a node can tell its
clock's distance from the hub's although the answer took long.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Protocol

from aiohttp import web

from rgym_exp.base.swarm_clock import SwarmClock
from rgym_exp.types import PROTOCOL

LONGEST_WAIT_SECONDS = 25.0
"""Shorter than what proxies commonly give a request."""


class RoundSource(Protocol):
    """The round as the keeper knows it. Used on the event loop alone."""

    round: int
    """-1 while unknown."""
    stage: int
    moved: asyncio.Event
    """Set when round or stage change; another event takes its place then."""


def round_route(rounds: RoundSource, *, contract: str | None, clock: SwarmClock) -> web.RouteDef:
    """The route. ``contract``: whose round it is, so that nodes of another contract ask that one. ``clock``: the one by
    which this hub's bootnode counts, too."""

    async def get_round(request: web.Request) -> web.Response:
        began = time.monotonic()
        after, wait = _after(request), _wait(request)
        if wait > 0 and rounds.round <= after:
            await _until_beyond(rounds, after, wait)
        if rounds.round < 0:
            raise web.HTTPServiceUnavailable(
                text="The swarm's round is not known yet; try again.\n", headers={"Retry-After": "2"}
            )
        answer = {
            "round": rounds.round,
            "stage": rounds.stage,
            "time": clock.now(),
            "waited": round(time.monotonic() - began, 4),
            "protocol": PROTOCOL,
            "contract": contract,
        }
        return web.Response(body=json.dumps(answer).encode(), content_type="application/json")

    return web.get("/round", get_round)


async def _until_beyond(rounds: RoundSource, after: int, seconds: float) -> None:
    """Return when the round is beyond ``after``, or the time is up."""
    try:
        async with asyncio.timeout(seconds):
            while rounds.round <= after:
                await rounds.moved.wait()
    except TimeoutError:
        pass


def _after(request: web.Request) -> int:
    """Which round the asker has; -1 for none."""
    text = request.query.get("after", "-1")
    try:
        return min(int(text), 2**63) if len(text) <= 20 else -1
    except ValueError:
        return -1


def _wait(request: web.Request) -> float:
    """How long it wants to wait, seconds, within our bounds."""
    try:
        wished = float(request.query.get("wait", "0"))
    except ValueError:
        return 0.0
    return min(wished, LONGEST_WAIT_SECONDS) if wished > 0 else 0.0

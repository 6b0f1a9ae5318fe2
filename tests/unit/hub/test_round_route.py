"""The round from the keeper's memory, over a real socket: at once, when it moves, or when the time is up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from rgym_exp.base.ports import free_port
from rgym_exp.base.swarm_clock import SwarmClock
from rgym_exp.hub import round_route as route
from rgym_exp.hub.api import build_app, serving
from rgym_exp.hub.connections import Connections
from rgym_exp.hub.rate_limit import RateLimit
from rgym_exp.hub.round_route import round_route
from rgym_exp.hub.rpc_proxy import RpcProxy
from rgym_exp.types import PROTOCOL


class Rounds:
    """A keeper's memory."""

    def __init__(self) -> None:
        self.round = 5
        self.stage = 0
        self.moved = asyncio.Event()

    def move(self, round: int) -> None:
        self.round = round
        moved, self.moved = self.moved, asyncio.Event()
        moved.set()


class Service:
    def __init__(self, url: str, rounds: Rounds, connections: Connections, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.rounds = rounds
        self.connections = connections
        self._session = session

    async def get(self, query: str = "") -> tuple[int, Any]:
        async with self._session.get(f"{self.url}/round{query}") as answer:
            return answer.status, await answer.json() if answer.status == 200 else await answer.text()

    async def until_open(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.connections) != count:
                await asyncio.sleep(0.005)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async def no_chain(_: list[dict[str, Any]]) -> Any:
        raise OSError("There is no chain here.")

    plenty = RateLimit(per_second=0, burst=1000)
    rounds, connections, port = Rounds(), Connections(), free_port()
    app = build_app(
        invite="rlswarm1:abc",
        status=dict,
        proxy=RpcProxy(forward=no_chain, rate_limit=plenty),
        rate_limit=plenty,
        also=[round_route(rounds, contract="0xabc", clock=SwarmClock())],
    )
    async with (
        serving(app, "127.0.0.1", port, connections=connections),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        yield Service(f"http://127.0.0.1:{port}", rounds, connections, session)


async def test_the_round_is_told_at_once_with_the_hubs_time_and_version(service: Service) -> None:
    before = time.time()
    status, told = await service.get()
    assert status == 200 and before <= told.pop("time") <= time.time() and told.pop("waited") < 5
    assert told == {"round": 5, "stage": 0, "protocol": PROTOCOL, "contract": "0xabc"}


@pytest.mark.parametrize("query", ["?after=4&wait=20", "?after=5", "?wait=20", "?after=x&wait=20", "?after=5&wait=x"])
async def test_who_is_behind_or_does_not_wait_is_answered_at_once(service: Service, query: str) -> None:
    async with asyncio.timeout(10):
        assert (await service.get(query))[1]["round"] == 5


async def test_who_has_this_round_hears_of_the_next_when_it_begins(service: Service) -> None:
    waiting = [asyncio.create_task(service.get("?after=5&wait=20")) for _ in range(200)]
    await service.until_open(200)
    service.rounds.move(6)
    told = [(await each)[1] for each in waiting]
    assert {each["round"] for each in told} == {6}
    # Stamped as they leave, so that the asker's clock can be compared although it waited.
    assert all(abs(each["time"] - time.time()) < 10 for each in told)


async def test_a_wait_ends_after_its_time_with_the_round_that_it_then_is(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await service.get("?after=5&wait=0.05"))[1]["round"] == 5
    monkeypatch.setattr(route, "LONGEST_WAIT_SECONDS", 0.05)
    status, told = await service.get("?after=5&wait=1e9")
    assert (status, told["round"]) == (200, 5) and told["waited"] >= 0.04


async def test_a_chain_that_was_set_back_ends_no_wait_and_is_told_at_its_end(service: Service) -> None:
    waiting = asyncio.create_task(service.get("?after=5&wait=0.2"))
    await service.until_open(1)
    service.rounds.move(3)
    assert (await waiting)[1]["round"] == 3


async def test_a_hub_that_does_not_know_its_round_says_so(service: Service) -> None:
    service.rounds.round = -1
    status, told = await service.get("?after=5&wait=0.01")
    assert status == 503 and "not known yet" in told


async def test_nobody_is_left_waiting_for_a_client_that_went_away(service: Service) -> None:
    waiting = asyncio.create_task(service.get("?after=5&wait=20"))
    await service.until_open(1)
    waiting.cancel()
    await service.until_open(0)
    service.rounds.move(6)
    assert (await service.get())[1]["round"] == 6

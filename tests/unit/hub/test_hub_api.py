"""The HTTP routes, over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from rgym_exp.base.ports import free_port
from rgym_exp.hub import api
from rgym_exp.hub.api import build_app, chain_forwarder, serving
from rgym_exp.hub.client import hub_status
from rgym_exp.hub.rate_limit import RateLimit
from rgym_exp.hub.rpc_proxy import MAX_BODY_BYTES, RpcProxy

STATUS: dict[str, Any] = {"swarm_id": "s", "round": 3, "trouble": None}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A hub's API whose chain is not there."""
    port = free_port()
    limit = RateLimit(per_second=0, burst=20)
    async with chain_forwarder(f"http://127.0.0.1:{free_port()}") as forward:
        proxy = RpcProxy(forward=forward, rate_limit=limit)
        app = build_app(invite="rlswarm1:abc", status=lambda: STATUS, proxy=proxy, rate_limit=limit)
        async with serving(app, "127.0.0.1", port):
            yield f"http://127.0.0.1:{port}"


async def test_the_invite_is_plain_text(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/invite") as answer:
        assert (answer.status, await answer.text()) == (200, "rlswarm1:abc\n")
        assert answer.content_type == "text/plain"


async def test_status_is_json(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/status") as answer:
        assert await answer.json() == STATUS


async def test_health_is_503_while_the_keeper_has_trouble(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/health") as answer:
            assert answer.status == 200
        monkeypatch.setitem(STATUS, "trouble", "The chain is away.")
        async with session.get(f"{url}/health") as answer:
            assert (answer.status, (await answer.json())["trouble"]) == (503, "The chain is away.")


async def test_a_chain_that_is_away_is_answered_as_json_rpc(url: str) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 9, "method": "eth_chainId"})
    async with aiohttp.ClientSession() as session, session.post(f"{url}/rpc", data=body) as answer:
        assert (answer.status, (await answer.json())["id"]) == (200, 9)
        assert "does not answer" in (await answer.json())["error"]["message"]


async def test_a_large_body_is_refused(url: str) -> None:
    body = b" " * (MAX_BODY_BYTES + 1)
    async with aiohttp.ClientSession() as session, session.post(f"{url}/rpc", data=body) as answer:
        assert answer.status == 413


async def test_there_is_nothing_else(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for method, path in (("GET", "/"), ("GET", "/rpc"), ("POST", "/status"), ("GET", "/../../etc/passwd")):
            async with session.request(method, url + path) as answer:
                assert answer.status in (404, 405)


async def test_a_client_that_asks_too_often_is_told_so(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        statuses = []
        for _ in range(21):
            async with session.get(f"{url}/invite") as answer:
                statuses.append(answer.status)
    assert statuses == [200] * 20 + [429]


async def test_our_own_hub_and_its_chain_answer_though_a_proxy_is_set(url: str, dead_proxy: None) -> None:
    assert (await asyncio.to_thread(hub_status, url))["swarm_id"] == "s"

    async def answer(request: web.Request) -> web.Response:
        return web.json_response([{"jsonrpc": "2.0", "id": 0, "result": "0x2a"}])

    chain = web.Application()
    chain.add_routes([web.post("/", answer)])
    port = free_port()
    async with serving(chain, "127.0.0.1", port), chain_forwarder(f"http://127.0.0.1:{port}") as forward:
        assert (await forward([{"method": "eth_chainId"}]))[0]["result"] == "0x2a"


async def test_every_route_draws_on_one_allowance_and_no_header_gets_another(url: str) -> None:
    call = json.dumps({"jsonrpc": "2.0", "id": 9, "method": "eth_chainId"})
    async with aiohttp.ClientSession() as session:
        for number in range(20):
            path = ("/invite", "/status", "/health")[number % 3]
            async with session.get(url + path) as answer:
                assert answer.status == 200
        made_up = {"X-Forwarded-For": "10.1.2.3", "X-Real-IP": "10.1.2.3", "Forwarded": "for=10.1.2.3"}
        for path in ("/invite", "/status", "/health"):
            async with session.get(url + path, headers=made_up) as answer:
                assert answer.status == 429
        async with session.post(f"{url}/rpc", data=call, headers=made_up) as answer:
            assert "Too many requests" in (await answer.json())["error"]["message"]


async def test_an_answer_of_the_chain_that_is_too_long_is_read_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_CHAIN_ANSWER_BYTES", 100)
    chain, port = web.Application(), free_port()

    async def answer(request: web.Request) -> web.Response:
        (call,) = await request.json()
        return web.json_response([{"jsonrpc": "2.0", "id": call["id"], "result": "0x" + "0" * call["params"][0]}])

    chain.add_routes([web.post("/", answer)])
    calls = [{"jsonrpc": "2.0", "id": 0, "method": "eth_call", "params": [length]} for length in (10, 100)]
    async with serving(chain, "127.0.0.1", port), chain_forwarder(f"http://127.0.0.1:{port}") as forward:
        assert (await forward(calls[:1]))[0]["result"] == "0x" + "0" * 10
        with pytest.raises(ValueError, match="over 100 bytes"):
            await forward(calls[1:])


async def test_a_chain_that_is_just_being_renewed_is_waited_for() -> None:
    port = free_port()

    async def answer(_: web.Request) -> web.Response:
        return web.json_response([{"id": 0, "result": "0x1"}])

    async with chain_forwarder(f"http://127.0.0.1:{port}") as forward:
        asking: asyncio.Future[Any] = asyncio.ensure_future(
            forward([{"jsonrpc": "2.0", "id": 0, "method": "eth_chainId", "params": []}])
        )
        await asyncio.sleep(0)
        app = web.Application()
        app.add_routes([web.post("/", answer)])
        async with serving(app, "127.0.0.1", port):
            assert await asking == [{"id": 0, "result": "0x1"}]

"""The hub's HTTP API: ``/invite``, ``/status``, ``/health``, the RPC proxy at ``/rpc``, and others' routes.

Served to strangers: every body is capped, every client's rate is limited, nothing here changes the hub.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from rgym_exp.base.http_client import is_loopback
from rgym_exp.errors import HubError
from rgym_exp.hub.client_address import CLIENT
from rgym_exp.hub.connections import Connections
from rgym_exp.hub.rate_limit import RateLimit
from rgym_exp.hub.rpc_proxy import MAX_BODY_BYTES, Forward, RpcProxy

CHAIN_TIMEOUT_SECONDS = 10.0
RESTART_SECONDS = 6.0
"""How long a chain that takes no connections, or just ended, is waited for; shorter than nodes wait for us."""
RESTART_LOOK_SECONDS = 0.2
MAX_CHAIN_ANSWER_BYTES = 16 * 1024 * 1024
BODY_SECONDS = 20.0
"""For the whole body of a request, once its headers are here."""
KEEP_ALIVE_SECONDS = 300.0
"""aiohttp's own; ``ConnectionLimits`` ends idle connections before."""
BACKLOG = 2048
"""Connections that wait to be accepted: a whole swarm may begin a round together, and one that finds no place tries
again only after a second."""

StatusSource = Callable[[], Mapping[str, Any]]


def build_app(
    *,
    invite: str,
    status: StatusSource,
    proxy: RpcProxy,
    rate_limit: RateLimit,
    also: Sequence[web.AbstractRouteDef] = (),
) -> web.Application:
    """The application with its four routes, and ``also`` those of others.

    ``status`` is called for every ``/status`` and returns what JSON can hold. Each client shares one allowance
    between the routes and the RPC proxy.
    """

    @web.middleware
    async def limited(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path != "/rpc" and not rate_limit.allow(request[CLIENT]):
            raise web.HTTPTooManyRequests(text="Too many requests from this address; try again in a few seconds.\n")
        response: web.StreamResponse = await handler(request)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def get_invite(_: web.Request) -> web.Response:
        return web.Response(text=f"{invite}\n")

    async def get_status(_: web.Request) -> web.Response:
        return web.json_response(dict(status()))

    async def get_health(_: web.Request) -> web.Response:
        current = status()
        healthy = not current.get("trouble")
        return web.json_response({"ok": healthy, "trouble": current.get("trouble")}, status=200 if healthy else 503)

    async def post_rpc(request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(None if request.content.is_eof() else BODY_SECONDS):
                body = await request.read()
        except TimeoutError as error:
            raise web.HTTPRequestTimeout from error
        answer = await proxy.answer(body, request[CLIENT])
        return web.json_response(answer)

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[limited])
    app.add_routes(
        [
            web.get("/invite", get_invite),
            web.get("/status", get_status),
            web.get("/health", get_health),
            web.post("/rpc", post_rpc),
            *also,
        ]
    )
    return app


@asynccontextmanager
async def chain_forwarder(rpc_url: str) -> AsyncIterator[Forward]:
    """A ``Forward`` to the chain at this URL, for as long as the context lasts."""
    timeout = aiohttp.ClientTimeout(total=CHAIN_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=not is_loopback(rpc_url)) as session:

        async def forward(calls: list[dict[str, Any]]) -> Any:
            ends = time.monotonic() + RESTART_SECONDS
            while True:
                try:
                    async with session.post(rpc_url, json=calls) as response:
                        return json.loads(await _read_capped(response))
                except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError) as error:
                    # The hub's own chain may just be renewed, which takes a moment. To ask twice does no harm: a
                    # transaction is done at most once.
                    if time.monotonic() > ends:
                        raise OSError(f"{type(error).__name__}: {error}") from error
                    await asyncio.sleep(RESTART_LOOK_SECONDS)
                except aiohttp.ClientError as error:
                    raise OSError(f"{type(error).__name__}: {error}") from error

        yield forward


async def _read_capped(response: aiohttp.ClientResponse) -> bytes:
    """The body, or ValueError when it is longer than MAX_CHAIN_ANSWER_BYTES."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_CHAIN_ANSWER_BYTES:
            raise ValueError(f"the chain's answer is over {MAX_CHAIN_ANSWER_BYTES} bytes")
    return bytes(body)


@asynccontextmanager
async def serving(
    app: web.Application, host: str, port: int, *, connections: Connections | None = None
) -> AsyncIterator[None]:
    """Serve the application; raises a HubError when the port can't be had. Requests under way get a second to end.

    ``connections`` counts and limits them; the default has the usual limits. Before any other middleware it tells each
    request's client (``client_address.CLIENT``). On ``::`` it listens on all addresses, IPv4's among them: this
    machine's own programs look for it on 127.0.0.1.
    """
    connections = Connections() if connections is None else connections
    app.middlewares.insert(0, connections.middleware)
    # A handler whose client is gone is cancelled: nodes that come and go must not leave waiting ones behind.
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True, keepalive_timeout=KEEP_ALIVE_SECONDS
    )
    await runner.setup()
    try:
        assert runner.server is not None
        try:
            server = await asyncio.get_running_loop().create_server(
                connections.before(runner.server), ["::", "0.0.0.0"] if host == "::" else host, port, backlog=BACKLOG
            )
        except OSError as error:
            raise HubError(f"The hub's HTTP API can't listen on {host}, port {port}: {error.strerror}.") from error
        try:
            async with connections.closing_idle():
                yield
        finally:
            server.close()
    finally:
        await runner.cleanup()

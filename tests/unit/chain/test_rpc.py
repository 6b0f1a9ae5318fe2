"""The way to a chain's server, against servers that answer too much, too slowly, too deeply or not at all."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from typing import Protocol

import pytest

from rgym_exp.chain import rpc
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.coordinator import ChainUnavailable
from tests.support.serving import serving

Write = Callable[[BaseHTTPRequestHandler], object]
NOWHERE = "0x" + 40 * "0"


class Serve(Protocol):
    def __call__(self, write: Write, *, ends_headers: bool = True) -> str: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server whose answer to every question is what a test writes; gives its address."""
    with ExitStack() as servers:

        def start(write: Write, *, ends_headers: bool = True) -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_POST(self) -> None:
                    self.rfile.read(int(self.headers["Content-Length"]))
                    self.send_response(200)
                    if ends_headers:
                        self.end_headers()
                    else:
                        self.flush_headers()
                    write(self)

                def log_message(self, *_: object) -> None:
                    """Quiet."""

            return servers.enter_context(serving(Handler, released=threading.Event()))

        yield start


def test_an_honest_answer_comes_through(serve: Serve) -> None:
    url = serve(lambda answer: answer.wfile.write(b'{"jsonrpc": "2.0", "id": 0, "result": "0x2a"}'))
    assert rpc.connect(url).eth.chain_id == 42


def test_our_own_chain_is_asked_though_a_proxy_is_set(serve: Serve, dead_proxy: None) -> None:
    url = serve(lambda answer: answer.wfile.write(b'{"jsonrpc": "2.0", "id": 0, "result": "0x2a"}'))
    assert rpc.connect(url).eth.chain_id == 42


def test_an_answer_that_is_too_large_is_not_read_to_its_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "MAX_ANSWER_BYTES", 100_000)
    broke_off = threading.Event()

    def endless(answer: BaseHTTPRequestHandler) -> None:
        try:
            while True:
                answer.wfile.write(b"[" * 65_536)
        except OSError:
            broke_off.set()

    with pytest.raises(ChainUnavailable, match="over 100000 bytes"):
        _ = SwarmContract(serve(endless), NOWHERE).chain_id
    assert broke_off.wait(10)


@pytest.mark.parametrize("in_body", [True, False], ids=["body", "headers"])
def test_a_server_that_drips_is_given_up_after_the_time_out(serve: Serve, in_body: bool) -> None:
    ended = threading.Event()

    def drip(answer: BaseHTTPRequestHandler) -> None:
        while not ended.wait(0.1):
            answer.wfile.write(b" " if in_body else b"x")

    begin = time.monotonic()
    with pytest.raises(ChainUnavailable, match="doesn't answer"):
        _ = SwarmContract(serve(drip, ends_headers=in_body), NOWHERE, timeout_seconds=0.5).chain_id
    ended.set()
    assert time.monotonic() - begin < 5


def test_an_answer_nested_too_deeply_is_an_answer_that_makes_no_sense(serve: Serve) -> None:
    url = serve(lambda answer: answer.wfile.write(b"[" * 200_000))
    with pytest.raises(ChainUnavailable, match="isn't a chain's"):
        _ = SwarmContract(url, NOWHERE).chain_id


def test_an_empty_answer_is_no_answer(serve: Serve) -> None:
    url = serve(lambda answer: None)
    with pytest.raises(ChainUnavailable):
        _ = SwarmContract(url, NOWHERE).chain_id


@pytest.mark.parametrize("module", ["rgym_exp.chain.account", "rgym_exp.chain.wallet", "rgym_exp.hub.hub"])
def test_the_ethereum_libraries_leave_pythons_recursion_limit_as_it_was(module: str) -> None:
    code = f"import sys; before = sys.getrecursionlimit(); import {module}; print(before, sys.getrecursionlimit())"
    before, after = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
    assert before == after

"""The round as a node gets it: of its hub in one request, of the contract where the hub doesn't tell it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from rgym_exp.chain.coordinator import ChainUnavailable
from rgym_exp.chain.hub_round import HubRounds, HubSilent
from tests.support.serving import serving

CONTRACT = "0x" + "ab" * 20


class HubStandIn:
    """A hub that says what it is told to, and notes what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.said: Any = {"round": 7, "stage": 0, "time": 1e9, "waited": 0.0, "protocol": 2, "contract": CONTRACT}
        self.paths: list[str] = []
        self.is_asked = threading.Event()
        self.released = threading.Event()
        self.hangs = False
        self.url = ""

    @contextmanager
    def served(self) -> Iterator[HubStandIn]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.paths.append(self.path)
                hub.is_asked.set()
                if hub.hangs:
                    hub.released.wait(60)
                body = hub.said if isinstance(hub.said, bytes) else json.dumps(hub.said).encode()
                self.send_response(hub.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        with serving(Handler, released=self.released) as address:
            self.url = address
            yield self


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    with HubStandIn().served() as served:
        yield served


def rounds_of(hub: HubStandIn, **options: Any) -> HubRounds:
    return HubRounds(hub.url, contract=CONTRACT, **options)


def test_a_look_is_one_request_and_one_that_waits_says_for_what(hub: HubStandIn) -> None:
    rounds = rounds_of(hub, wait_seconds=15)
    assert [(told.round, told.stage) for told in (rounds.look(after=None), rounds.look(after=6))] == [(7, 0)] * 2
    assert hub.paths == ["/round", "/round?after=6&wait=15"]


def test_the_hubs_time_is_told_with_the_wait_at_the_hub_left_out(hub: HubStandIn) -> None:
    told: list[tuple[float, float, float]] = []
    began = time.monotonic()
    hub.hangs = True
    threading.Timer(0.3, hub.released.set).start()
    hub.said = {**hub.said, "waited": 0.25}
    rounds_of(hub, on_time=lambda *times: told.append(times)).look(after=7)
    ((hub_time, sent, received),) = told
    assert hub_time == 1e9 and began + 0.25 <= sent <= received <= time.monotonic()


@pytest.mark.parametrize("waited", [-1, 1e9, "0", None, float("nan")])
def test_a_wait_that_can_not_have_been_tells_no_time(hub: HubStandIn, waited: Any) -> None:
    told: list[float] = []
    hub.said = {**hub.said, "waited": waited}
    with suppress(HubSilent):  # NaN is no JSON.
        rounds_of(hub, on_time=lambda *times: told.append(times[0])).look(after=None)
    assert told == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, b"404: Not Found"), (405, b""), (503, b"not known yet"), (500, b""), (302, b""), (200, b"<html>"),
        (200, b""), (200, []), (200, {}), (200, {"round": -1, "stage": 0}), (200, {"round": "7", "stage": 0}),
        (200, {"round": True, "stage": 0}), (200, {"round": 2**63, "stage": 0}), (200, b" " * 20_000),
        (200, {"round": 7, "stage": 0, "contract": "0x" + "cd" * 20}),
    ],
)  # fmt: skip
def test_a_hub_that_tells_no_round_is_left_alone_for_a_while(hub: HubStandIn, status: int, said: Any) -> None:
    hub.status, hub.said = status, said
    rounds = rounds_of(hub)
    for _ in range(3):
        with pytest.raises(HubSilent):
            rounds.look(after=None)
    assert len(hub.paths) == 1


def test_a_hub_that_hangs_is_waited_for_no_longer_than_agreed(hub: HubStandIn) -> None:
    hub.hangs = True
    with pytest.raises(HubSilent, match="no whole answer in time|doesn't answer"):
        rounds_of(hub, timeout_seconds=0.2, wait_seconds=0.2).look(after=7)


class StopRequestedInTest(BaseException):
    """As a node's own: no Exception."""


def test_a_stop_in_the_main_thread_ends_a_wait_at_once(hub: HubStandIn) -> None:
    def stop(number: int, frame: object) -> None:
        raise StopRequestedInTest

    def send_stop() -> None:
        hub.is_asked.wait(20)
        os.kill(os.getpid(), signal.SIGUSR1)

    hub.hangs = True
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        threading.Thread(target=send_stop, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(StopRequestedInTest):
            rounds_of(hub, wait_seconds=50).look(after=7)
        assert time.monotonic() - began < 25  # Half of what it would have waited.
    finally:
        signal.signal(signal.SIGUSR1, before)


# ----------------------------------------------------------------------------------------- a coordinator with a hub


def test_a_coordinator_asks_its_hub_and_leaves_the_chain_alone(
    make_node: Callable[..., Any], faulty_rpc: Any, hub: HubStandIn
) -> None:
    node = make_node(rpc_url=faulty_rpc.url, hub=rounds_of(hub))
    assert (node.round_and_stage(), node.round_and_stage(after=6)) == ((7, 0), (7, 0))
    assert faulty_rpc.requests == 0


@pytest.mark.parametrize("status", [404, 503])
def test_the_contract_is_asked_where_the_hub_tells_nothing(
    make_node: Callable[..., Any], hub: HubStandIn, status: int
) -> None:
    hub.status = status
    assert make_node(hub=rounds_of(hub)).round_and_stage(after=0) == (0, 0)


def test_without_hub_and_chain_the_round_is_unavailable(
    make_node: Callable[..., Any], faulty_rpc: Any, hub: HubStandIn
) -> None:
    hub.status, faulty_rpc.mode = 503, "away"
    with pytest.raises(ChainUnavailable):
        make_node(rpc_url=faulty_rpc.url, hub=rounds_of(hub)).round_and_stage()


# ------------------------------------------------------------------------------------------ what the chain is asked


def test_a_look_at_the_contract_is_one_request_and_the_chains_id_is_asked_once(
    make_node: Callable[..., Any], faulty_rpc: Any
) -> None:
    node = make_node(rpc_url=faulty_rpc.url)
    for _ in range(3):
        assert node.round_and_stage() == (0, 0)
    assert faulty_rpc.requests == 3
    assert faulty_rpc.methods == ["eth_chainId", *["eth_call"] * 6]


def test_a_reward_and_a_vote_are_a_handful_of_requests(
    make_node: Callable[..., Any], faulty_rpc: Any, wait_until: Callable[..., None]
) -> None:
    node = make_node(rpc_url=faulty_rpc.url)
    node.register("QmA")
    wait_until(lambda: node.pending() == 0)
    faulty_rpc.requests = 0
    node.submit_reward(round=0, stage=0, reward=1, peer_id="QmA")
    node.submit_winners(round=0, winners=["QmA"], peer_id="QmA")
    wait_until(lambda: node.pending() == 0)
    assert [each.status for each in node.transactions()] == ["confirmed"] * 3
    # What it must know, the transaction, the look at its receipt: six in all, with another look each where the block
    # was a moment late; and up to three by which a chain that is set back will be noticed.
    assert 6 <= faulty_rpc.requests <= 11

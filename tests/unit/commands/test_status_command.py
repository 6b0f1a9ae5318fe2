"""``rl-swarm status`` with and without a hub."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rgym_exp.base.ports import free_port
from rgym_exp.chain.outbox import Outbox
from rgym_exp.commands.status import report
from rgym_exp.commands.where import network_of, own_hub_url
from rgym_exp.config.paths import Home
from rgym_exp.hub.api import build_app, chain_forwarder, serving
from rgym_exp.hub.hub_record import HubRecord, save_record
from rgym_exp.hub.rate_limit import RateLimit
from rgym_exp.hub.rpc_proxy import RpcProxy
from rgym_exp.swarm.identity import load_or_create_identity
from rgym_exp.swarm.names import animal_name

CONTRACT = "0x5afE56e7A0B986fB31e3830a70fd7cd38250A9e2"
ACCOUNT = "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB"


class ServedStatus:
    """A hub's API with a status of our choice, in a thread of its own; its chain is away."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.status: dict[str, Any] = {"swarm_id": "s", "round": 7, "stage": 0, "peers": [], "peer_count": 0}
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))
        self._thread.start()
        assert self._ready.wait(20)

    async def _serve(self) -> None:
        limit = RateLimit(per_second=1000, burst=1000)
        async with chain_forwarder(f"http://127.0.0.1:{free_port()}") as forward:
            proxy = RpcProxy(forward=forward, rate_limit=limit)
            app = build_app(invite="rlswarm1:abc", status=lambda: self.status, proxy=proxy, rate_limit=limit)
            async with serving(app, "127.0.0.1", self.port):
                self._ready.set()
                await self._stop.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        self._loop.close()


@pytest.fixture
def hub() -> Iterator[ServedStatus]:
    served = ServedStatus()
    yield served
    served.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("IDENTITY_PATH", raising=False)
    home = Home(root=tmp_path, identity_path=None)
    load_or_create_identity(home.identity)
    return home


def remember_network(home: Home, **network: Any) -> None:
    home.logs.mkdir(exist_ok=True)
    (home.logs / "config.yaml").write_text(json.dumps({"network": network}))


def text(home: Home, **options: Any) -> str:
    return "\n".join(report(home, **options))


def test_with_the_hub_away_the_report_says_so_and_goes_on(home: Home) -> None:
    remember_network(home, hub_url=f"http://127.0.0.1:{free_port()}")
    shown = text(home)
    assert animal_name(load_or_create_identity(home.identity).peer_id) in shown
    assert "does not answer" in shown and "rl-swarm doctor" in shown


def test_an_empty_folder_has_a_status_too_and_stays_empty(tmp_path: Path) -> None:
    shown = text(Home(root=tmp_path, identity_path=None), hub_url=f"http://127.0.0.1:{free_port()}")
    assert "no identity" in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("last_round", "answer"), [(7, "yes: shared round 7"), (6, "yes: shared round 6"), (5, "not now"), (None, "no:")]
)
def test_taking_part_means_to_have_shared_this_round_or_the_last(
    home: Home, hub: ServedStatus, last_round: int | None, answer: str
) -> None:
    peer_id = load_or_create_identity(home.identity).peer_id
    peer = {"name": "quiet amber otter", "peer_id": peer_id, "last_round": last_round, "mean_reward": 0.5}
    hub.status["peers"] = [peer] if last_round else []
    shown = text(home, hub_url=hub.url)
    assert f"taking part  {answer}" in shown
    assert ("quiet amber otter" in shown and "(me)" in shown) == bool(last_round)


def test_words_of_strangers_cannot_steer_the_terminal(home: Home, hub: ServedStatus) -> None:
    hub.status["peers"] = [{"name": "\x1b[2Jotter", "model_name": "m\r\nround 9", "last_round": "\x07", "peer_id": 3}]
    hub.status["trouble"] = "\x1b]0;title\x07"
    shown = text(home, hub_url=hub.url)
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "\nround 9" not in shown


@pytest.mark.parametrize("as_written", [ACCOUNT, ACCOUNT.lower(), ACCOUNT.lower().removeprefix("0x")])
def test_waiting_transactions_are_shown_although_the_chain_is_away(
    home: Home, hub: ServedStatus, as_written: str
) -> None:
    remember_network(home, hub_url=hub.url, rpc_url=f"{hub.url}/rpc", chain_id=7, coordinator_address=CONTRACT)
    home.account_key.parent.mkdir(parents=True)
    home.account_key.write_text(json.dumps({"address": as_written}))
    outbox = Outbox(home.outbox, target=f"7:{CONTRACT}", account=ACCOUNT)
    outbox.add("reward", peer_id="p", round=4, stage=0, payload={"reward": 1})
    outbox.close()
    shown = text(home)
    assert "1 waiting to be confirmed" in shown and "reward of round 4 waiting" in shown


def test_bets_and_claims_are_told_by_their_game(home: Home, hub: ServedStatus) -> None:
    remember_network(home, hub_url=hub.url, rpc_url=f"{hub.url}/rpc", chain_id=7, coordinator_address=CONTRACT)
    home.account_key.parent.mkdir(parents=True)
    home.account_key.write_text(json.dumps({"address": ACCOUNT}))
    outbox = Outbox(home.outbox, target=f"7:{CONTRACT}", account=ACCOUNT)
    bet = {"choice": 1, "stake": 5}
    outbox.add("bet", peer_id="p", round=7, stage=2, contract=CONTRACT, payload=bet)
    row = outbox.due(time.monotonic())
    assert row is not None
    outbox.mark_refused(row, "InvalidRound: the clue was over before the bet arrived")
    outbox.add("claim", peer_id="p", round=6, contract=CONTRACT)
    outbox.close()
    shown = text(home)
    refused = r"bet on clue 2 of game 7 refused, \d+ s ago: InvalidRound: the clue was over before the bet arrived"
    assert re.search(refused, shown)
    assert "claim of game 6 waiting" in shown


def test_before_the_first_round_the_accuracy_is_told(home: Home, hub: ServedStatus) -> None:
    home.logs.mkdir()
    (home.logs / "metrics.jsonl").write_text('{"round":0,"step":0,"time":1.0,"held_out":0.07}\n')
    assert "last round   none yet; held-out accuracy before training 0.07" in text(home, hub_url=hub.url)


def test_the_last_round_is_read_from_the_metrics_torn_lines_and_all(home: Home, hub: ServedStatus) -> None:
    home.logs.mkdir()
    lines = [json.dumps({"round": 3, "step": 2, "local_reward": 0.25, "time": time.time() - 120}), '{"round": 4, "st']
    (home.logs / "metrics.jsonl").write_text("\n".join(lines))
    assert "last round   3, 2 min ago: reward 0.25" in text(home, hub_url=hub.url)


def test_the_network_is_that_of_the_last_run_else_this_machines_hub(home: Home) -> None:
    assert network_of(home).hub_url == "http://127.0.0.1:8600"
    home.hub.mkdir(parents=True)
    save_record(
        home.hub / "hub.json", HubRecord(swarm_id="s", tasks="starter", model_name="auto", port=9000, p2p_port=9001)
    )
    assert network_of(home).hub_url == own_hub_url(home) == "http://127.0.0.1:9000"
    remember_network(home, hub_url="http://192.0.2.1:8600", surprise=1)
    assert network_of(home).hub_url == "http://192.0.2.1:8600"
    (home.logs / "config.yaml").write_text("{")
    assert network_of(home).hub_url == "http://127.0.0.1:9000"

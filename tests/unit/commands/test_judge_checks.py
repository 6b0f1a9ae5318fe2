"""What the doctor says about judge and prediction market."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from rgym_exp.base.ports import free_port
from rgym_exp.commands.judge_checks import check_judge, check_market
from rgym_exp.config.schema import NetworkConfig
from tests.support.judge_stand_in import WRONG, Behaviour, JudgeStandIn

MARKET, NOTHING = "0x" + "11" * 20, "0x" + "22" * 20
CLUE = {"game_id": 3, "clue_id": 1, "rounds_remaining": 2, "clue": "Which?", "choices": ["red", "blue"]}


def network(**values: Any) -> NetworkConfig:
    return NetworkConfig(**values)


def test_networks_without_judge_and_market_lack_nothing() -> None:
    assert check_judge(network()).level == check_market(network()).level == "ok"


def test_a_judge_that_answers_is_shown_with_its_game() -> None:
    with JudgeStandIn().served() as judge:
        assert "no game" in check_judge(network(judge_url=judge.url)).what
        judge.clue = CLUE
        finding = check_judge(network(judge_url=judge.url))
    assert finding.level == "ok"
    assert "game 3 at clue 1" in finding.what


@pytest.mark.parametrize("behaviour", [behaviour for behaviour in WRONG if "drips" not in behaviour.__name__][:3])
def test_a_wrong_judge_is_a_warning(behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rgym_exp.commands.judge_checks.ANSWER_SECONDS", 0.5)
    with JudgeStandIn(behaviour).served() as judge:
        finding = check_judge(network(judge_url=judge.url))
        assert judge.url in finding.what
    assert finding.level == "warning"
    assert "trains without it" in finding.remedy


class Chain(BaseHTTPRequestHandler):
    """A chain with code at MARKET and nowhere else."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        result = "0x60" if MARKET.encode() in body else "0x"
        answer = f'{{"jsonrpc": "2.0", "id": 1, "result": "{result}"}}'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing to say."""


@pytest.mark.parametrize(("address", "level"), [(MARKET, "ok"), (NOTHING, "warning")])
def test_a_market_is_looked_for_on_the_chain(address: str, level: str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Chain)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        finding = check_market(network(prg_address=address, rpc_url=f"http://127.0.0.1:{server.server_port}"))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert finding.level == level
    assert address in finding.what


def test_a_market_on_a_chain_that_is_away_is_no_second_complaint() -> None:
    found = check_market(network(prg_address=MARKET, rpc_url=f"http://127.0.0.1:{free_port()}"))
    assert found.level == "ok"

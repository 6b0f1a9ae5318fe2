"""Rows, their order, the confidence interval, and the route that shows them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from rgym_exp.base.ports import free_port
from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.coordinator import ChainUnavailable
from rgym_exp.errors import HubError
from rgym_exp.hub.api import serving
from rgym_exp.hub.client import MAX_ANSWER_BYTES, hub_leaderboard
from rgym_exp.hub.contract_events import RewardEvent
from rgym_exp.hub.follower import Follower
from rgym_exp.hub.leaderboard import ONE_TOKEN, Leaderboard, MarketBalances, keeping_leaderboard, leaderboard_routes
from rgym_exp.hub.leaderboard_page import MAX_PEERS_SHOWN, Page, accuracy_text, page_from_json, plain_table
from rgym_exp.hub.ledger import Block, Ledger, Tally
from rgym_exp.hub.ranking import Judged, RankedPeer, participation, rank, wilson_interval
from rgym_exp.swarm.names import animal_name

CONTRACT = "0x5afE56e7A0B986fB31e3830a70fd7cd38250A9e2"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a judge knows of a peer."""

    model_name: str = "judged-model"
    answers: int = 10
    right: float = 6.0
    asked: int = 12


@dataclass
class FixedJudge:
    known: Mapping[str, Answers]

    def tallies(self) -> Mapping[str, Answers]:
        return self.known


class FixedMarket:
    """A market's contract that counts what it is asked."""

    def __init__(self, balances: Mapping[str, int]) -> None:
        self.balances = balances
        self.asked: list[str] = []
        self.away = False

    def read(self, function: str, *arguments: Any) -> Any:
        assert function == "betTokenBalance"
        if self.away:
            raise ChainUnavailable("The chain does not answer.")
        self.asked.append(arguments[0])
        return self.balances.get(arguments[0], 0)


def tally(peer_id: str, **changes: Any) -> Tally:
    values: dict[str, Any] = {
        "account": CONTRACT,
        "rounds": 1,
        "reward": 1,
        "wins": 0,
        "first_round": 0,
        "last_round": 0,
    }
    return Tally(peer_id=peer_id, **(values | changes))


def ranked(*tallies: Tally, swarm_round: int = 1, **sources: Any) -> list[RankedPeer]:
    empty: dict[str, Any] = {"judged": {}, "bet_tokens": {}, "models": {}}
    return rank(tallies, swarm_round=swarm_round, **(empty | sources))


# ------------------------------------------------------------------ rows


def test_peers_stand_by_reward_then_votes_then_name() -> None:
    even = sorted(("QmD", "QmE"), key=animal_name)
    rows = ranked(
        *(tally(peer, reward=2) for peer in reversed(even)),
        tally("QmC", reward=2, wins=1),
        tally("QmA", reward=9),
        tally("QmB", reward=-3, wins=8),
    )
    assert [row.peer_id for row in rows] == ["QmA", "QmC", *even, "QmB"]
    assert [row.name for row in rows[:1]] == [animal_name("QmA")]


@pytest.mark.parametrize(
    ("rounds", "first", "last", "swarm_round", "share"),
    [
        pytest.param(10, 0, 9, 10, 1.0, id="all rounds, the current one is still being played"),
        pytest.param(11, 0, 10, 10, 1.0, id="all rounds, the current one included"),
        pytest.param(5, 0, 8, 10, 0.5, id="half of them"),
        pytest.param(5, 5, 9, 10, 1.0, id="rounds before a peer's first don't count against it"),
        pytest.param(1, 10, 10, 10, 1.0, id="the first round"),
        pytest.param(3, 0, 2, -1, 1.0, id="before the hub knows the round"),
        pytest.param(9, 5, 6, 7, 1.0, id="never above one"),
        pytest.param(4, 0, 3, 100, 0.04, id="gone since long"),
    ],
)
def test_participation(rounds: int, first: int, last: int, swarm_round: int, share: float) -> None:
    assert participation(tally("QmA", rounds=rounds, first_round=first, last_round=last), swarm_round) == share


def test_a_row_joins_what_ledger_judge_and_market_know() -> None:
    (row,) = ranked(
        tally("QmA", rounds=3, reward=12, wins=2, last_round=2),
        swarm_round=6,
        judged={"QmA": Answers(), "nobody": Answers()},
        bet_tokens={"QmA": 104.25},
        models={"QmA": "announced"},
    )
    low, high = wilson_interval(6, 10)
    assert row == RankedPeer(
        name=animal_name("QmA"),
        peer_id="QmA",
        rounds=3,
        participation=0.5,
        reward=12,
        wins=2,
        judged=Judged(accuracy=0.6, low=round(low, 4), high=round(high, 4), answers=10, asked=12),
        bet_tokens=104.25,
        last_round=2,
        model_name="judged-model",
    )


def test_without_judge_and_market_the_row_says_so_and_the_model_is_the_announced_one() -> None:
    (row,) = ranked(tally("QmA"), models={"QmA": "a/model"})
    assert (row.judged, row.bet_tokens, row.model_name) == (None, None, "a/model")


@pytest.mark.parametrize("right", [-1.0, 11.0, float("nan"), float("inf")])
def test_impossible_scores_are_no_accuracy(right: float) -> None:
    assert ranked(tally("QmA"), judged={"QmA": Answers(right=right)})[0].judged is None


# ------------------------------------------------------------------ the interval


@pytest.mark.parametrize(
    ("right", "answers", "low", "high"),
    # By hand, z = 1.96: centre (p + z^2/2n) / (1 + z^2/n), half z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n).
    # 0 of 10: 0 and z^2/(n + z^2) = 3.8415/13.8415. 5 of 10: 0.5 and half 1.96 sqrt(0.025 + 0.0096)/1.38415.
    # 81 of 263 is the worked example of Newcombe, Statistics in Medicine 17 (1998) 857-872.
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_the_interval_is_wilsons(right: float, answers: int, low: float, high: float) -> None:
    assert wilson_interval(right, answers) == pytest.approx((low, high), abs=5e-5)


def test_without_answers_the_interval_is_everything() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("asked", "text"), [(10, "60% 31-83"), (20, "60% 31-83"), (21, "60% 31-83?")])
def test_who_leaves_more_than_half_of_the_questions_unanswered_is_marked(asked: int, text: str) -> None:
    assert accuracy_text(ranked(tally("QmA"), judged={"QmA": Answers(asked=asked)})[0].judged) == text


def test_answers_to_questions_that_the_record_has_forgotten_count_as_asked() -> None:
    judged = ranked(tally("QmA"), judged={"QmA": Answers(answers=10, asked=0)})[0].judged
    assert judged is not None and judged.asked == 10


@given(answers=st.integers(1, 10**6), share=st.floats(0, 1))
def test_the_interval_holds_the_accuracy_and_stays_within_zero_and_one(answers: int, share: float) -> None:
    low, high = wilson_interval(share * answers, answers)
    assert 0 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1


# ------------------------------------------------------------------ balances


def test_balances_are_asked_a_few_at_a_time_in_turns() -> None:
    market = FixedMarket({peer: ord(peer) for peer in "abcde"})
    balances = MarketBalances(market, at_once=2)
    peers = list("abcde")
    assert balances(peers) == {"a": 97, "b": 98}
    balances(peers)
    assert balances(peers) == {peer: ord(peer) for peer in peers}
    assert market.asked == ["a", "b", "c", "d", "e", "a"]
    balances(peers)
    assert market.asked[-2:] == ["b", "c"]


def test_balances_of_peers_that_are_gone_are_forgotten() -> None:
    balances = MarketBalances(FixedMarket({"a": 1, "b": 2}))
    balances(["a", "b"])
    assert balances(["b"]) == {"b": 2}


# ------------------------------------------------------------------ the leaderboard and its route


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    opened = Ledger(tmp_path / "ledger.sqlite", chain_id=1, contract=CONTRACT)
    yield opened
    opened.close()


def fill(ledger: Ledger, rewards: Mapping[str, int]) -> None:
    events = [
        RewardEvent(
            block=1,
            block_hash="0x1",
            log_index=index,
            account=CONTRACT,
            peer_id=peer,
            round=0,
            stage=0,
            reward=reward,
        )
        for index, (peer, reward) in enumerate(rewards.items())
    ]
    ledger.record(events, upto=Block(number=1, hash="0x1"))


def make_leaderboard(ledger: Ledger, **sources: Any) -> Leaderboard:
    follower = Follower(SwarmContract(f"http://127.0.0.1:{free_port()}", CONTRACT), ledger, own_chain=True)
    return Leaderboard(ledger=ledger, follower=follower, swarm_round=lambda: 1, **sources)


@pytest.fixture
async def serve(ledger: Ledger) -> AsyncIterator[Any]:
    """Serves a leaderboard's routes; gives their address."""
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:

        async def start(leaderboard: Leaderboard) -> str:
            app, port = web.Application(), free_port()
            app.add_routes(leaderboard_routes(leaderboard))
            await stack.enter_async_context(serving(app, "127.0.0.1", port))
            return f"http://127.0.0.1:{port}"

        yield start


async def get(url: str, **headers: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, answer.content_type, await answer.text()


async def test_the_route_answers_as_json(ledger: Ledger, serve: Any) -> None:
    fill(ledger, {"QmA": 5, "QmB": 7})
    leaderboard = make_leaderboard(
        ledger, judge=FixedJudge({"QmA": Answers()}), balances=lambda peers: {"QmB": 3 * ONE_TOKEN // 2}
    )
    leaderboard.refresh({"QmB": "a/model"})
    status, kind, text = await get(f"{await serve(leaderboard)}/leaderboard")
    answer = json.loads(text)
    assert (status, kind) == (200, "application/json")
    assert (answer["round"], answer["peer_count"], answer["trouble"]) == (1, 2, None)
    assert 0 <= answer["updated"] < 60
    first, second = answer["peers"]
    assert first == {
        "name": animal_name("QmB"),
        "peer_id": "QmB",
        "rounds": 1,
        "participation": 1.0,
        "reward": 7,
        "wins": 0,
        "judged": None,
        "bet_tokens": 1.5,
        "last_round": 0,
        "model_name": "a/model",
    }
    assert second["judged"] == {"accuracy": 0.6, "low": 0.3127, "high": 0.8318, "answers": 10, "asked": 12}


async def test_for_a_terminal_it_is_a_table_of_at_most_80_columns(ledger: Ledger, serve: Any) -> None:
    fill(ledger, {"QmA": 5, "QmB": 123456})
    leaderboard = make_leaderboard(ledger, judge=FixedJudge({"QmA": Answers(answers=9999, right=9999.0)}))
    leaderboard.refresh()
    _, kind, text = await get(f"{await serve(leaderboard)}/leaderboard", Accept="text/plain")
    assert kind == "text/plain"
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert animal_name("QmB") in lines[2] and "123456" in lines[2]
    assert "100% 100-100" in lines[3]


async def test_limit_shows_the_first_peers(ledger: Ledger, serve: Any) -> None:
    fill(ledger, {f"Qm{number}": number for number in range(MAX_PEERS_SHOWN + 50)})
    leaderboard = make_leaderboard(ledger)
    leaderboard.refresh()
    url = await serve(leaderboard)
    for query, shown in (("?limit=2", 2), ("", MAX_PEERS_SHOWN), ("?limit=999999999", MAX_PEERS_SHOWN)):
        answer = json.loads((await get(f"{url}/leaderboard{query}"))[2])
        assert len(answer["peers"]) == shown
        assert (answer["peer_count"], answer["peers"][0]["reward"]) == (MAX_PEERS_SHOWN + 50, MAX_PEERS_SHOWN + 49)


@pytest.mark.parametrize("limit", ["0", "-1", "x", "", "1e3", "²", "9" * 5000])
async def test_an_impossible_limit_is_a_bad_request(ledger: Ledger, serve: Any, limit: str) -> None:
    status, _, text = await get(f"{await serve(make_leaderboard(ledger))}/leaderboard?limit={limit}")
    assert status == 400 and "whole number" in text


async def test_no_request_asks_the_market(ledger: Ledger, serve: Any) -> None:
    fill(ledger, {"QmA": 5})
    market = FixedMarket({"QmA": ONE_TOKEN})
    leaderboard = make_leaderboard(ledger, balances=MarketBalances(market))
    leaderboard.refresh()
    url = await serve(leaderboard)
    for _ in range(5):
        assert json.loads((await get(f"{url}/leaderboard"))[2])["peers"][0]["bet_tokens"] == 1.0
    assert market.asked == ["QmA"]


def test_a_market_that_is_away_takes_nothing_from_the_leaderboard(ledger: Ledger) -> None:
    market = FixedMarket({"QmA": ONE_TOKEN})
    leaderboard = make_leaderboard(ledger, balances=MarketBalances(market))
    fill(ledger, {"QmA": 5})
    leaderboard.refresh()
    market.away = True
    ledger.settle({"QmA": (6, 1)})
    with pytest.raises(ChainUnavailable):
        leaderboard.refresh()
    (row,) = leaderboard.page().peers
    assert (row.reward, row.wins, row.bet_tokens) == (6, 1, 1.0)


async def test_a_leaderboard_that_is_kept_says_why_it_stands_still(tmp_path: Path) -> None:
    contract = SwarmContract(f"http://127.0.0.1:{free_port()}", CONTRACT)
    # Asked already, as in a hub that has deployed the contract.
    contract._chain_id = 1
    async with keeping_leaderboard(
        file=tmp_path / "ledger.sqlite", contract=contract, is_new=False, own_chain=True, swarm_round=lambda: 3
    ) as leaderboard:
        async with asyncio.timeout(30):
            while leaderboard.page().trouble is None or leaderboard.page().round != 3:
                await asyncio.sleep(0.05)
        assert leaderboard.page().peers == ()


# ------------------------------------------------------------------ what a hub says is a stranger's


async def test_the_largest_page_is_one_that_clients_read(ledger: Ledger, serve: Any) -> None:
    peers = [f"{number:04}" + ":" * 124 for number in range(MAX_PEERS_SHOWN)]
    fill(ledger, {peer: 2**60 for peer in peers})
    judge = FixedJudge({peer: Answers(model_name="[{é" * 100, right=10 / 3) for peer in peers})
    leaderboard = make_leaderboard(ledger, judge=judge, balances=lambda peers: dict.fromkeys(peers, 2**40 * ONE_TOKEN))
    leaderboard.refresh()
    text = leaderboard.json_page()
    assert len(text.encode()) < MAX_ANSWER_BYTES
    assert len(shallow_json(text.encode())["peers"]) == MAX_PEERS_SHOWN
    page = await asyncio.to_thread(hub_leaderboard, await serve(leaderboard))
    assert page.peers == leaderboard.page().peers


def test_a_page_survives_its_way_as_json(ledger: Ledger) -> None:
    fill(ledger, {"QmA": 5, "QmB": -7})
    leaderboard = make_leaderboard(ledger, judge=FixedJudge({"QmA": Answers()}))
    leaderboard.refresh()
    read = page_from_json(json.loads(leaderboard.json_page()))
    assert read.peers == leaderboard.page().peers


@pytest.mark.parametrize("answer", [None, [], 3, {}, {"peers": {}}, {"peers": "all"}])
def test_what_is_no_page_is_refused(answer: object) -> None:
    with pytest.raises(ValueError, match="no list of peers"):
        page_from_json(answer)


def test_rows_that_make_no_sense_are_left_out_and_values_bounded() -> None:
    odd = {
        "peer_id": "QmA",
        "name": "\x1b[2J you have won",
        "rounds": "many",
        "participation": 7,
        "reward": 10**400,
        "wins": True,
        "judged": {"accuracy": 0.5, "low": 0.6, "high": 0.4, "answers": 3},
        "bet_tokens": [],
        "last_round": None,
        "model_name": "\x1b[31m" + "m" * 1000,
    }
    page = page_from_json({"peers": [None, 7, {"peer_id": "\x07"}, {"peer_id": ["QmB"]}, odd], "round": {}})
    (row,) = page.peers
    assert row == RankedPeer(
        name=animal_name("QmA"),
        peer_id="QmA",
        rounds=0,
        participation=1.0,
        reward=0,
        wins=0,
        judged=None,
        bet_tokens=None,
        last_round=-1,
        model_name="??31m" + "m" * 95,
    )
    assert page.round == -1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
row_names = ("peer_id", "rounds", "participation", "reward", "wins", "judged", "bet_tokens", "last_round", "model_name")


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"peer_id": st.just("QmA") | json_values}, optional=dict.fromkeys(row_names[1:], json_values)
        )
    )
)
def test_no_answer_breaks_the_reader(rows: list[Any]) -> None:
    page = page_from_json({"peers": rows})
    assert plain_table(page).isprintable() is False  # it has line ends, and nothing else that isn't text
    assert all(line.isprintable() for line in plain_table(page).split("\n"))


async def test_a_server_that_is_no_hub_is_told_as_such(serve: Any) -> None:
    port = free_port()
    app = web.Application()

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app.add_routes([web.get("/leaderboard", hello)])
    async with serving(app, "127.0.0.1", port):
        with pytest.raises(HubError, match="not as a hub of RL Swarm does"):
            await asyncio.to_thread(hub_leaderboard, f"http://127.0.0.1:{port}")


def test_an_empty_page_is_a_table_too() -> None:
    page = Page(round=3, peer_count=0, updated=0.4, trouble="The chain is away.", peers=())
    assert plain_table(page) == "round 3, 0 peers, 0 s ago\nnot up to date: The chain is away.\n"

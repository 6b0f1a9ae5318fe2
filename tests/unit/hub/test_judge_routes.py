"""The judge's HTTP routes, over a real socket, with the client that nodes use and with strangers' bytes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rgym_exp.base.ports import free_port
from rgym_exp.hub.api import build_app, serving
from rgym_exp.hub.judge_routes import judge_routes
from rgym_exp.hub.rate_limit import RateLimit
from rgym_exp.hub.rpc_proxy import RpcProxy
from rgym_exp.judge.http_judge import HttpJudge
from rgym_exp.judge.judge import Clue
from rgym_exp.judge.local_judge import LocalJudge
from rgym_exp.judge.sessions import SessionLimits
from simulation.memory_tasks import MemoryTasks

CLUE = Clue(game=3, clue=1, rounds_remaining=3, text="Draws so far: red.", choices=("red", "blue"))
ASK = {"user_id": "QmA", "round_number": 7, "model_name": "model"}


class TableGames:
    """Games as a table."""

    def __init__(self) -> None:
        self.clue: Clue | None = None

    def current_clue(self) -> Clue | None:
        return self.clue

    def told(self, game: int) -> Mapping[str, Any] | None:
        return {"game_id": 3, "status": "revealed"} if game == 3 else None


class Service:
    """The routes on a port, and what is behind them."""

    def __init__(self, url: str, judge: LocalJudge, games: TableGames, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.judge = judge
        self.games = games
        self.round = 7
        """The swarm's, as the judge knows it."""
        self._session = session

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._session.get(self.url + path) as answer:
            return answer.status, await answer.json(content_type=None)

    async def post(
        self, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._session.post(self.url + path, data=data, headers=headers) as answer:
            content = await answer.read()
            told = json.loads(content) if answer.content_type == "application/json" else content
            return answer.status, told, answer.headers


@pytest.fixture
async def service(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    """A judge of small sums; one address may ask 60 times, without getting more."""
    port, games = free_port(), TableGames()
    judge = LocalJudge(
        open_source=lambda: MemoryTasks(largest=1000),
        record_path=tmp_path / "judge.sqlite",
        swarm_round=lambda: made.round,
        limits=getattr(request, "param", None),
    )

    async def no_chain(_: list[dict[str, Any]]) -> Any:
        raise OSError("There is no chain here.")

    plenty = RateLimit(per_second=0, burst=1000)
    app = build_app(
        invite="rlswarm1:abc",
        status=dict,
        proxy=RpcProxy(forward=no_chain, rate_limit=plenty),
        rate_limit=plenty,
        also=judge_routes(judge, games=games, rate_limit=RateLimit(per_second=0, burst=60)),
    )
    async with serving(app, "127.0.0.1", port), aiohttp.ClientSession() as session:
        made = Service(f"http://127.0.0.1:{port}", judge, games, session)
        yield made
    await judge.close()


def right(question: str) -> str:
    return f"<answer>{sum(int(number) for number in re.findall(r'[0-9]+', question))}</answer>"


async def test_a_node_asks_answers_and_is_scored(service: Service) -> None:
    node = HttpJudge(service.url)

    def examine() -> list[float]:
        questions = [node.ask(user_id="QmA", round=7, model_name="model") for _ in range(4)]
        answers = [right(question.text) for question in questions[:3]] + ["I don't know."]
        return [node.submit(one, round=7, answer=text) for one, text in zip(questions, answers, strict=True)]

    assert await asyncio.to_thread(examine) == [1.0, 1.0, 1.0, 0.0]
    assert service.judge.tallies()["QmA"].right == 3.0
    node.close()


async def test_a_nodes_questions_come_in_one_request_and_its_scores_too(service: Service) -> None:
    node = HttpJudge(service.url)

    def examine() -> list[object]:
        questions = node.ask_many(user_id="QmA", round=7, model_name="model", count=4)
        answers = [right(question.text) for question in questions[:3]] + ["I don't know."]
        results = node.submit_many(list(zip(questions, answers, strict=True)), round=7)
        again = node.submit_many([(questions[0], answers[0])], round=7)
        return [*results, *(str(each) for each in again)]

    *scores, refused = await asyncio.to_thread(examine)
    assert scores == [1.0, 1.0, 1.0, 0.0] and "has been answered" in str(refused)
    assert service.judge.tallies()["QmA"].right == 3.0


@pytest.mark.parametrize(
    "body",
    [
        {}, {"answers": None}, {"answers": {}}, {"answers": []}, {"answers": ["x"]}, {"answers": [{}] * 17},
        {"answers": [{"session_id": {"a": 1}}] * 16},
    ],
)  # fmt: skip
async def test_what_are_no_answers_is_refused_as_a_whole(service: Service, body: Any) -> None:
    status, told, _ = await service.post("/submit-answers/", body)
    assert (status, list(told)) == (400, ["error"])


async def test_each_answer_of_many_has_a_status_of_its_own(service: Service) -> None:
    _, asked, _ = await service.post("/request-questions/", {**ASK, "count": 1})
    session = asked["questions"][0]["session_id"]
    answers = [{"session_id": "ab" * 16, "user_answer": "x"}, {"session_id": session}, {"user_answer": "x"}]
    status, told, _ = await service.post("/submit-answers/", {"answers": answers})
    assert (status, [each["status"] for each in told["scores"]]) == (200, [404, 400, 400])


@pytest.mark.parametrize("count", [0, 17, None, "4", True, [4]])
async def test_a_number_of_questions_must_be_one(service: Service, count: Any) -> None:
    status, told, _ = await service.post("/request-questions/", {**ASK, "count": count})
    assert (status, list(told)) == (400, ["error"])


async def test_a_node_sees_the_clue_of_the_game_that_runs(service: Service) -> None:
    node = HttpJudge(service.url)
    assert await asyncio.to_thread(node.current_clue) is None
    service.games.clue = CLUE
    assert await asyncio.to_thread(node.current_clue) == CLUE
    node.close()


async def test_answers_are_those_of_the_interface_with_and_without_a_slash_at_the_end(service: Service) -> None:
    for slash in ("", "/"):
        status, asked, _ = await service.post(f"/request-question{slash}", ASK)
        assert (status, sorted(asked)) == (200, ["expires_at", "question", "round_number", "session_id"])
        assert asked["round_number"] == 7
        answer = {"session_id": asked["session_id"], "round_number": 7, "user_answer": right(asked["question"])}
        status, scored, _ = await service.post(f"/submit-answer{slash}", answer)
        assert (status, scored) == (200, {"session_id": asked["session_id"], "score": 1.0})
        none = {"game_id": -1, "clue_id": -1, "rounds_remaining": 0, "clue": "", "choices": []}
        assert await service.get(f"/current_clue{slash}") == (200, none)
        assert await service.get(f"/games/3{slash}") == (200, {"game_id": 3, "status": "revealed"})


async def test_what_can_not_be_had_is_told_with_a_status_and_a_sentence(service: Service) -> None:
    _, asked, _ = await service.post("/request-question/", ASK)
    answer = {"session_id": asked["session_id"], "user_answer": "x"}
    await service.post("/submit-answer/", answer)
    for expected, path, body in (
        (409, "/submit-answer/", answer),
        (404, "/submit-answer/", {**answer, "session_id": "ab" * 16}),
        (400, "/submit-answer/", {"user_answer": "x"}),
        (400, "/submit-answer/", {"session_id": asked["session_id"]}),
        (400, "/request-question/", {**ASK, "round_number": 9}),
        (400, "/request-question/", {}),
    ):
        status, told, _ = await service.post(path, body)
        assert (status, list(told)) == (expected, ["error"])
        assert told["error"].endswith(".")
    assert (await service.get("/games/4"))[0] == 404


@pytest.mark.parametrize("service", [SessionLimits(lifetime_seconds=-1)], indirect=True)
async def test_a_late_answer_is_gone(service: Service) -> None:
    _, asked, _ = await service.post("/request-question/", ASK)
    status, told, _ = await service.post("/submit-answer/", {"session_id": asked["session_id"], "user_answer": "x"})
    assert status == 410 and "ended" in told["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b'{"user_id": NaN}',
        b"[" * 3000,
        b'{"a":' * 500,
        b'{"user_id": "' + b'\\"' * 1500,
        json.dumps({**ASK, "user_id": {"$ne": None}}).encode(),
        json.dumps({**ASK, "model_name": [["m"]]}).encode(),
        json.dumps({**ASK, "round_number": 10**300}).encode(),
        json.dumps({**ASK, "user_id": "\ud800"}).encode(),
    ],
)
@pytest.mark.parametrize("path", ["/request-question/", "/submit-answer/", "/request-questions/", "/submit-answers/"])
async def test_bytes_that_are_no_request_are_refused(service: Service, path: str, body: bytes) -> None:
    status, told, _ = await service.post(path, body)
    assert (status, list(told)) == (400, ["error"])


@pytest.mark.parametrize("nested", [b"[" * 9 + b"]" * 9, b'{"a":' * 9 + b"1" + b"}" * 9])
async def test_what_is_nested_is_refused_before_it_is_parsed(service: Service, nested: bytes) -> None:
    for path in ("/request-question/", "/submit-answer/"):
        status, told, _ = await service.post(path, b'{"user_id": "Qm", "more": ' + nested + b"}")
        assert status == 400 and "nested" in told["error"]


async def test_bodies_are_cut_off_at_their_size(service: Service) -> None:
    assert (await service.post("/request-question/", b" " * 5000))[0] == 413
    assert (await service.post("/submit-answer/", b" " * 120_000))[0] == 413
    assert (await service.post("/submit-answers/", b" " * 460_000))[0] == 413


async def test_an_answer_full_of_brackets_is_an_answer(service: Service) -> None:
    _, asked, _ = await service.post("/request-question/", ASK)
    text = "[{" * 5000 + '"\\"' + right(asked["question"])
    status, scored, _ = await service.post("/submit-answer/", {"session_id": asked["session_id"], "user_answer": text})
    assert (status, scored["score"]) == (200, 1.0)


async def test_a_peer_that_asks_too_much_and_an_address_that_does_are_told_when_to_come_again(service: Service) -> None:
    statuses = []
    for _ in range(17):
        status, _, headers = await service.post("/request-question/", ASK)
        statuses.append(status)
    assert statuses == [200] * 16 + [429]
    assert int(headers["Retry-After"]) > 0
    for number in range(43):
        status, _, headers = await service.post("/request-question/", {**ASK, "user_id": f"Qm{number}"})
        assert status == 200
    status, told, headers = await service.post("/request-question/", {**ASK, "user_id": "QmMore"})
    assert (status, headers["Retry-After"]) == (429, "10")
    # Clues and games cost nothing, and are for everybody.
    assert (await service.get("/current_clue/"))[0] == 200


async def test_answers_draw_on_the_allowance_of_questions_and_no_header_gets_another(service: Service) -> None:
    answer: Mapping[str, Any] = {"session_id": "ab" * 16, "user_answer": "x"}
    ask: Mapping[str, Any] = ASK
    for number in range(60):
        path, body = (("/request-question/", {}), ("/submit-answer/", answer))[number % 2]
        assert (await service.post(path, body))[0] in (400, 404)
    made_up = {"X-Forwarded-For": "10.1.2.3", "X-Real-IP": "10.1.2.3", "Forwarded": "for=10.1.2.3"}
    for path, body in (("/request-question/", ask), ("/submit-answer/", answer)):
        assert (await service.post(path, body, headers=made_up))[0] == 429


async def test_a_judge_that_can_not_ask_yet_says_when_to_come_again(service: Service) -> None:
    service.round = -1
    status, told, headers = await service.post("/request-question/", ASK)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "not known yet" in told["error"]


async def test_other_methods_and_odd_games_are_not_found(service: Service) -> None:
    for path in ("/games/-1", "/games/x", "/games/" + "9" * 16, "/games/%2e%2e", "/games/"):
        async with aiohttp.ClientSession() as session, session.get(service.url + path) as answer:
            assert answer.status == 404
    async with aiohttp.ClientSession() as session, session.get(service.url + "/request-question/") as answer:
        assert answer.status == 405

"""A judge over HTTP, good and bad, against a real server."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from rgym_exp.judge.http_judge import HttpJudge
from rgym_exp.judge.judge import Clue, Judge, JudgeAway, JudgeRefusal, Question
from tests.support import judge_stand_in as stand_in
from tests.support.judge_stand_in import Behaviour, JudgeStandIn

QUESTION = Question(session_id="session-1", text="What is 1 + 1?")
CLUE = {"game_id": 3, "clue_id": 1, "rounds_remaining": 2, "clue": "red, blue, red", "choices": ["red", "blue"]}
DEADLINE = 0.6


@pytest.fixture
def server() -> Iterator[JudgeStandIn]:
    with JudgeStandIn().served() as served:
        yield served


def judge_at(server: JudgeStandIn, timeout_seconds: float = 10.0) -> Judge:
    return HttpJudge(server.url, timeout_seconds=timeout_seconds)


def ask(judge: Judge) -> Question:
    return judge.ask(user_id="QmPeer", round=7, model_name="small/model")


def test_a_question_is_asked_for_in_the_peers_name(server: JudgeStandIn) -> None:
    assert ask(judge_at(server)) == QUESTION
    assert server.asked == [
        ("POST", "request-question/", {"user_id": "QmPeer", "round_number": 7, "model_name": "small/model"})
    ]


def test_an_answer_is_handed_in_within_its_session_and_gets_its_score(server: JudgeStandIn) -> None:
    assert judge_at(server).submit(QUESTION, round=7, answer="<answer>2</answer>") == 0.25
    assert server.asked == [
        ("POST", "submit-answer/", {"session_id": "session-1", "round_number": 7, "user_answer": "<answer>2</answer>"})
    ]


def test_a_session_of_a_number_is_given_back_as_a_number(server: JudgeStandIn) -> None:
    server.behaviour = stand_in.says({"session_id": 12, "question": "?", "score": 1})
    judge = judge_at(server)
    assert judge.submit(ask(judge), round=7, answer="2") == 1.0
    assert server.asked[1][2]["session_id"] == 12


def test_an_answer_is_sent_as_text_of_bounded_size_whatever_the_model_said(server: JudgeStandIn) -> None:
    judge_at(server).submit(QUESTION, round=7, answer="\ud800" + "é" * 20_000)
    sent = server.asked[0][2]["user_answer"]
    assert sent.startswith("?é") and len(sent.encode()) == 16 * 1024 - 1  # half an é is left out


def test_the_games_clue_is_read(server: JudgeStandIn) -> None:
    server.clue = CLUE
    expected = Clue(game=3, clue=1, rounds_remaining=2, text="red, blue, red", choices=("red", "blue"))
    assert judge_at(server).current_clue() == expected
    assert server.asked == [("GET", "current_clue/", None)]


def test_our_own_judge_is_asked_though_a_proxy_is_set(server: JudgeStandIn, dead_proxy: None) -> None:
    server.clue = CLUE
    assert judge_at(server).current_clue() is not None


@pytest.mark.parametrize("said", [stand_in.NO_GAME, {"game_id": -1}, {"game_id": -1, "choices": None}])
def test_no_game_is_no_clue(server: JudgeStandIn, said: Any) -> None:
    server.clue = said
    assert judge_at(server).current_clue() is None


def test_a_slash_at_the_end_of_the_address_changes_nothing(server: JudgeStandIn) -> None:
    server.url += "/"
    assert ask(judge_at(server)) == QUESTION


@pytest.mark.parametrize("behaviour", stand_in.WRONG, ids=lambda behaviour: behaviour.__name__)
def test_whatever_is_wrong_is_one_error_that_names_the_judge_and_comes_in_time(
    server: JudgeStandIn, behaviour: Behaviour
) -> None:
    server.behaviour, server.clue = behaviour, CLUE
    judge = judge_at(server, DEADLINE)
    calls = (lambda: ask(judge), lambda: judge.submit(QUESTION, round=7, answer="2"), judge.current_clue)
    for call in calls:
        began = time.monotonic()
        with pytest.raises(JudgeAway) as caught:
            call()
        # Far below what another time-out per byte, or the whole 60 s of `hangs`, would be.
        assert time.monotonic() - began < 2 * DEADLINE + 1
        assert server.url in str(caught.value) and str(caught.value).endswith(".")
    assert "elsewhere/" not in [path for _, path, _ in server.asked]


@pytest.mark.parametrize("behaviour", [stand_in.hangs, stand_in.drips, stand_in.drips_headers])
def test_an_answer_that_is_not_whole_in_time_is_called_that(server: JudgeStandIn, behaviour: Behaviour) -> None:
    server.behaviour = behaviour
    with pytest.raises(JudgeAway, match=r"no whole answer within 0\.6 s"):
        ask(judge_at(server, DEADLINE))


def test_nobody_there_is_said_so() -> None:
    with pytest.raises(JudgeAway, match="No judge answers at http://127.0.0.1:9"):
        ask(HttpJudge("http://127.0.0.1:9", timeout_seconds=5))


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "120", 120.0), (429, "9" * 400, 0.0), (429, "1e9", 300.0), (429, "-5", 0.0), (429, "nan", 0.0),
        (429, None, 0.0), (429, "Wed, 21 Oct 2015 07:28:00 GMT", 0.0), (503, "30", 30.0), (503, None, None),
        (500, "30", None),
    ],
)  # fmt: skip
def test_a_judge_that_asks_for_a_pause_says_how_long_within_reason(
    server: JudgeStandIn, status: int, header: str | None, seconds: float | None
) -> None:
    headers = {} if header is None else {"retry-after": header}
    server.behaviour = lambda judge, request, good: stand_in.send(request, status, b"", headers)
    with pytest.raises(JudgeAway) as caught:
        ask(judge_at(server))
    assert caught.value.retry_after_seconds == seconds


def test_a_refusal_is_told_apart_and_carries_its_reason_on_one_line(server: JudgeStandIn) -> None:
    server.behaviour = stand_in.says({"error": "expired\n\x1b[31mor so"}, status=410)
    with pytest.raises(JudgeRefusal, match=r"\(status 410: expired \[31mor so\)"):
        ask(judge_at(server))


@pytest.mark.parametrize(
    "said",
    [
        b"", b"null", b"[]", b"2", b'{"session_id": "1"}', b'{"session_id": "1", "question": NaN}',
        {"session_id": True, "question": "?"}, {"session_id": "", "question": "?"},
        {"session_id": None, "question": "?"}, {"session_id": 1.5, "question": "?"},
        {"session_id": "x" * 201, "question": "?"}, {"session_id": 10**200, "question": "?"},
        {"session_id": "1", "question": ""}, {"session_id": "1", "question": " "},
        {"session_id": "1", "question": "\ud800"}, {"session_id": "1", "question": "é" * 4097},
        {"session_id": "1", "question": ["?"]}, b'{"session_id": ' + b"9" * 5000 + b', "question": "?"}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_what_is_no_question_is_refused(server: JudgeStandIn, said: Any) -> None:
    server.behaviour = stand_in.says(said)
    with pytest.raises(JudgeAway, match="as a judge does"):
        ask(judge_at(server))


@pytest.mark.parametrize(
    "said",
    [
        b'{"score": NaN}', b'{"score": Infinity}', b'{"score": 1e999}', b'{"score": -1e-9}', b'{"score": 1.0001}',
        b'{"score": true}', b'{"score": null}', b'{"score": "1"}', b'{"score": [1]}', b"1", b"{}",
    ],
)  # fmt: skip
def test_what_is_no_score_is_refused(server: JudgeStandIn, said: bytes) -> None:
    server.behaviour = stand_in.says(said)
    with pytest.raises(JudgeAway, match="as a judge does"):
        judge_at(server).submit(QUESTION, round=7, answer="2")


@pytest.mark.parametrize(
    "changes",
    [
        {"game_id": -2}, {"game_id": True}, {"game_id": 2**63}, {"game_id": "3"}, {"game_id": 3.0}, {"clue_id": -1},
        {"clue_id": False}, {"rounds_remaining": -1}, {"rounds_remaining": None}, {"clue": ""}, {"clue": "x" * 8193},
        {"clue": "\udfff"}, {"choices": []}, {"choices": ["red"]}, {"choices": ["red", "red"]},
        {"choices": ["red", "red "]}, {"choices": ["red", ""]}, {"choices": ["red", " "]}, {"choices": ["red", 1]},
        {"choices": ["red", "x" * 201]}, {"choices": ["red", "bl\nue"]}, {"choices": ["red", "\ud800"]},
        {"choices": [str(number) for number in range(65)]}, {"choices": "red or blue"},
        {"choices": {"red": 1, "blue": 2}},
    ],
)  # fmt: skip
def test_what_is_no_clue_is_refused(server: JudgeStandIn, changes: dict[str, Any]) -> None:
    server.clue = {**CLUE, **changes}
    with pytest.raises(JudgeAway, match="as a judge does"):
        judge_at(server).current_clue()


def test_a_clue_of_the_largest_size_gets_through(server: JudgeStandIn) -> None:
    choices = [f"{number:02d}" + "é" * 198 for number in range(64)]
    server.clue = {**CLUE, "game_id": 2**63 - 1, "clue": "\U0001f600" * 2048, "choices": choices}
    clue = judge_at(server).current_clue()
    assert clue is not None and clue.choices == tuple(choices) and clue.game == 2**63 - 1


def test_a_proxy_of_the_environment_is_not_asked_for_a_judge_on_this_machine(
    server: JudgeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert ask(judge_at(server)) == QUESTION


def test_a_judge_elsewhere_is_reached_through_the_environments_proxy(
    server: JudgeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/swarm"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(JudgeRefusal, match=r"at http://judge\.example doesn't know"):  # A proxy hears the whole URL.
        ask(HttpJudge("http://judge.example"))
    assert server.asked[0][1] == "http://judge.example/request-question/"


def test_a_judge_that_takes_one_question_at_a_time_is_asked_so_and_offered_many_only_once(server: JudgeStandIn) -> None:
    judge = HttpJudge(server.url)
    questions = judge.ask_many(user_id="QmPeer", round=7, model_name="m", count=3)
    assert len({question.session_id for question in questions}) == 3
    assert judge.submit_many([(question, "2") for question in questions], round=7) == [0.25] * 3
    paths = [path for _, path, _ in server.asked]
    assert paths == ["request-questions/", *["request-question/"] * 3, *["submit-answer/"] * 3]


def test_a_refused_answer_costs_the_others_nothing(server: JudgeStandIn) -> None:
    judge = HttpJudge(server.url)
    said = {"scores": [{"score": 1.0}, {"error": "It is\nover.", "status": 410}, {"score": 0}]}
    server.behaviour = stand_in.says(said)
    first, second, third = judge.submit_many([(QUESTION, "2")] * 3, round=7)
    assert (first, third) == (1.0, 0.0)
    assert isinstance(second, JudgeRefusal) and "It is over." in str(second)


@pytest.mark.parametrize(
    "said",
    [
        {}, [], {"questions": []}, {"questions": {}}, {"questions": [{"session_id": "1", "question": "?"}] * 5},
        {"questions": [{"session_id": "1", "question": "?"}, {"session_id": "2"}]},
    ],
)  # fmt: skip
def test_what_are_no_questions_is_refused(server: JudgeStandIn, said: Any) -> None:
    server.behaviour = stand_in.says(said)
    with pytest.raises(JudgeAway, match="as a judge does"):
        HttpJudge(server.url).ask_many(user_id="QmPeer", round=7, model_name="m", count=4)


@pytest.mark.parametrize(
    "said", [{}, {"scores": [{"score": 1}]}, {"scores": [{"score": 1}, {"score": 2}]}, {"scores": [1, 1]}]
)
def test_what_are_no_scores_is_refused(server: JudgeStandIn, said: Any) -> None:
    server.behaviour = stand_in.says(said)
    with pytest.raises(JudgeAway, match="as a judge does"):
        HttpJudge(server.url).submit_many([(QUESTION, "2")] * 2, round=7)


def test_a_connection_that_the_judge_has_closed_meanwhile_is_opened_anew() -> None:
    """A server that closes each connection after its answer, without saying so."""
    answer = json.dumps({"session_id": "1", "question": "?"}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(3):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(head + answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        judge = HttpJudge(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert [ask(judge).text for _ in range(3)] == ["?"] * 3
        thread.join(10)

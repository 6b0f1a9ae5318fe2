"""What a node's rounds have of a judge, whatever the judge does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from rgym_exp.judge.http_judge import HttpJudge
from rgym_exp.judge.judge import Clue, Judge, JudgeAway, JudgeRefusal, Question
from rgym_exp.judge.judge_client import MAX_WAITING, JudgeClient
from simulation.memory_judge import MemoryJudge
from tests.support import judge_stand_in as stand_in
from tests.support.judge_stand_in import Behaviour, JudgeStandIn

MakeJudgeClient = Callable[..., JudgeClient]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class HangingJudge(MemoryJudge):
    """Answers nothing before it is released, and says when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.called = threading.Event()
        self.released = threading.Event()

    def ask(self, *, user_id: str, round: int, model_name: str) -> Question:
        self.called.set()
        assert self.released.wait(60)
        return super().ask(user_id=user_id, round=round, model_name=model_name)

    def submit(self, question: Question, *, round: int, answer: str) -> float:
        self.called.set()
        assert self.released.wait(60)
        return super().submit(question, round=round, answer=answer)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_judge_client(clock: Clock) -> Iterator[MakeJudgeClient]:
    judge_clients: list[JudgeClient] = []

    def make(judge: Judge, **changes: Any) -> JudgeClient:
        chosen: dict[str, Any] = {
            **{"user_id": "QmPeer", "model_name": "small/model", "every_rounds": 1, "questions": 2},
            # In the middle of its range the jitter changes nothing: pauses are 5 s, 10 s, 20 s, ...
            **{"clock": clock, "jitter": lambda: 0.5},
        }
        judge_clients.append(JudgeClient(judge, **{**chosen, **changes}))
        return judge_clients[-1]

    yield make
    for judge_client in judge_clients:
        judge_client.close()


def settle(judge_client: JudgeClient) -> None:
    """Wait until the judge client has done all that it was told so far."""
    judge_client._background.submit(lambda: None).result(timeout=20)


def play(judge_client: JudgeClient, round: int, step: int | None = None) -> list[Question]:
    """A round in which the judge's questions have time to arrive, and are answered."""
    judge_client.begin(round, round if step is None else step)
    settle(judge_client)
    questions = judge_client.questions()
    judge_client.submit([(question, "2") for question in questions], round=round)
    settle(judge_client)
    return questions


def of_judge(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "rl_swarm.judge"]


def test_a_rounds_questions_are_answered_and_their_scores_taken_once(make_judge_client: MakeJudgeClient) -> None:
    judge = MemoryJudge(
        ["What is 1 + 1?", "And 1 + 2?"], score=lambda question, answer: float("1 + 1" in question.text)
    )
    judge_client = make_judge_client(judge)
    assert [question.text for question in play(judge_client, 7)] == ["What is 1 + 1?", "And 1 + 2?"]
    assert judge_client.questions() == []
    assert judge.asked == [("QmPeer", 7, "small/model")] * 2
    assert [(round, answer) for _, round, answer in judge.answers] == [(7, "2")] * 2
    assert judge_client.take_scores() == [1.0, 0.0]
    assert judge_client.take_scores() == []


class JudgeOfManyInMemory(MemoryJudge):
    """Takes a round's questions and answers in one call each, and counts the calls."""

    def __init__(self, *, refused: int = -1) -> None:
        super().__init__(["What is 1 + 1?", "And 1 + 2?"])
        self.calls: list[str] = []
        self._refused = refused

    def ask_many(self, *, user_id: str, round: int, model_name: str, count: int) -> list[Question]:
        self.calls.append(f"ask {count}")
        return [self.ask(user_id=user_id, round=round, model_name=model_name) for _ in range(count)]

    def submit_many(self, answers: Sequence[tuple[Question, str]], *, round: int) -> list[float | JudgeRefusal]:
        self.calls.append(f"submit {len(answers)} of round {round}")
        return [
            JudgeRefusal("Its time is over.")
            if place == self._refused
            else self.submit(question, round=round, answer=text)
            for place, (question, text) in enumerate(answers)
        ]


def test_a_judge_of_many_is_asked_once_a_round(make_judge_client: MakeJudgeClient) -> None:
    judge = JudgeOfManyInMemory()
    judge_client = make_judge_client(judge)
    assert [question.text for question in play(judge_client, 7)] == ["What is 1 + 1?", "And 1 + 2?"]
    assert judge.calls == ["ask 2", "submit 2 of round 7"]
    assert judge_client.take_scores() == [1.0, 1.0]


def test_an_answer_that_a_judge_of_many_refuses_is_told_and_the_others_count(
    make_judge_client: MakeJudgeClient, caplog: pytest.LogCaptureFixture
) -> None:
    judge_client = make_judge_client(JudgeOfManyInMemory(refused=0))
    with caplog.at_level(logging.INFO):
        play(judge_client, 7)
    assert judge_client.take_scores() == [1.0]
    assert of_judge(caplog) == [(logging.INFO, "1 of 2 answers don't count: Its time is over.")]


class JudgeThatForgets(JudgeOfManyInMemory):
    """Scores the first answer only."""

    def submit_many(self, answers: Sequence[tuple[Question, str]], *, round: int) -> list[float | JudgeRefusal]:
        return super().submit_many(answers, round=round)[:1]


def test_a_judge_of_many_that_gives_too_few_scores_is_named_and_none_counts(
    make_judge_client: MakeJudgeClient, caplog: pytest.LogCaptureFixture
) -> None:
    judge_client = make_judge_client(JudgeThatForgets())
    play(judge_client, 7)
    assert judge_client.take_scores() == []
    assert "The judge (JudgeThatForgets) failed" in caplog.text
    assert "1 scores for 2 answers" in caplog.text


def test_it_asks_every_so_many_rounds_and_never_when_turned_off(make_judge_client: MakeJudgeClient) -> None:
    judge = MemoryJudge()
    judge_client = make_judge_client(judge, every_rounds=3, questions=1)
    asked = [step for step in range(1, 10) if play(judge_client, 100 + step, step)]
    assert asked == [3, 6, 9]
    off = make_judge_client(judge, every_rounds=0)
    assert not any(play(off, step) for step in range(10))


def test_questions_that_nobody_took_are_dropped_for_those_of_the_next_round(make_judge_client: MakeJudgeClient) -> None:
    judge_client = make_judge_client(MemoryJudge(["first", "second", "third"]), questions=1)
    for round in (1, 2, 3):
        judge_client.begin(round, round)
        settle(judge_client)
    assert [question.text for question in judge_client.questions()] == ["third"]


def test_while_the_judge_hangs_nothing_waits_and_nothing_piles_up(make_judge_client: MakeJudgeClient) -> None:
    judge = HangingJudge()
    judge_client = make_judge_client(judge)
    for round in range(1, 200):
        judge_client.begin(round, round)
        assert judge_client.questions() == [] and judge_client.take_scores() == []
    assert judge.called.wait(10)
    judge.released.set()
    settle(judge_client)
    assert judge.asked == [("QmPeer", 1, "small/model")] * 2


def test_questions_that_arrive_late_are_answered_under_the_round_they_were_asked_in(
    make_judge_client: MakeJudgeClient,
) -> None:
    judge = HangingJudge()
    judge_client = make_judge_client(judge)
    judge_client.begin(7, 7)
    assert judge.called.wait(10) and judge_client.questions() == []
    judge_client.begin(8, 8)
    judge.released.set()
    settle(judge_client)
    late = judge_client.questions()
    assert len(late) == 2
    judge_client.submit([(question, "2") for question in late], round=8)
    settle(judge_client)
    assert [round for _, round, _ in judge.answers] == [7, 7]


def test_answers_that_a_hanging_judge_does_not_take_are_bounded(make_judge_client: MakeJudgeClient) -> None:
    judge = HangingJudge()
    judge_client = make_judge_client(judge)
    for number in range(100):
        judge_client.submit([(Question(session_id=number, text="?"), "2")], round=number)
    assert judge.called.wait(10)
    judge.released.set()
    settle(judge_client)
    assert [round for _, round, _ in judge.answers] == list(range(MAX_WAITING + 1))


def test_an_absent_judge_is_told_of_once_and_left_alone_for_longer_and_longer(
    make_judge_client: MakeJudgeClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    judge = MemoryJudge()
    judge.away = "No judge answers at http://judge (ConnectionError)."
    calls: list[float] = []
    ask = judge.ask
    judge.ask = lambda **given: (calls.append(clock.now), ask(**given))[1]  # type: ignore[method-assign]
    judge_client = make_judge_client(judge)
    with caplog.at_level(logging.INFO, logger="rl_swarm.judge"):
        for round in range(1200):
            play(judge_client, round)
            clock.now += 1
        assert [later - sooner for sooner, later in zip(calls, calls[1:], strict=False)] == [
            5, 10, 20, 40, 80, 160, 300, 300,
        ]  # fmt: skip
        assert of_judge(caplog) == [
            (logging.WARNING, f"{judge.away} Training goes on without it; asked again in 5 s."),
        ]
        judge.away = ""
        clock.now += 300
        assert play(judge_client, 1200) and play(judge_client, 1201)
    assert of_judge(caplog)[1:] == [(logging.INFO, "The judge answers again.")]


def test_after_its_return_the_first_pause_is_short_again(make_judge_client: MakeJudgeClient, clock: Clock) -> None:
    judge = MemoryJudge()
    judge_client = make_judge_client(judge)
    for away in ("away", "away", "", "away"):
        judge.away = away
        play(judge_client, 1)
        clock.now += 10  # Two failures in a row: a pause of 10 s.
    judge.away = ""
    assert play(judge_client, 2)


@pytest.mark.parametrize(("jitter", "shortest"), [(0.0, 3.75), (0.999, 6.2475)])
def test_nodes_come_back_at_different_times(
    make_judge_client: MakeJudgeClient, clock: Clock, jitter: float, shortest: float
) -> None:
    judge = MemoryJudge()
    judge.away = "away"
    judge_client = make_judge_client(judge, jitter=lambda: jitter)
    play(judge_client, 1)
    judge.away = ""
    clock.now += shortest - 0.01
    assert not play(judge_client, 2)
    clock.now += 0.02
    assert play(judge_client, 3)


def test_a_judge_that_asks_for_a_pause_gets_it_without_a_warning(
    make_judge_client: MakeJudgeClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    judge = MemoryJudge()
    busy = JudgeAway("The judge at http://judge asks for a pause (status 429).", retry_after_seconds=120)
    ask = judge.ask

    def is_busy(**_: Any) -> Question:
        raise busy

    judge.ask = is_busy  # type: ignore[method-assign]
    judge_client = make_judge_client(judge)
    with caplog.at_level(logging.INFO, logger="rl_swarm.judge"):
        play(judge_client, 1)
    assert of_judge(caplog) == [(logging.INFO, f"{busy} Training goes on without it; asked again in 120 s.")]
    judge.ask = ask  # type: ignore[method-assign]
    clock.now += 119
    assert not play(judge_client, 2)
    clock.now += 2
    assert play(judge_client, 3)


def test_a_refused_answer_takes_no_other_with_it(
    make_judge_client: MakeJudgeClient, caplog: pytest.LogCaptureFixture
) -> None:
    def score(question: Question, answer: str) -> float:
        if question.session_id == "session-0":
            raise JudgeRefusal("The judge at http://judge refuses (status 410: expired).")
        return 0.5

    judge_client = make_judge_client(MemoryJudge(score=score), questions=3)
    with caplog.at_level(logging.INFO, logger="rl_swarm.judge"):
        play(judge_client, 1)
    assert judge_client.take_scores() == [0.5, 0.5]
    assert of_judge(caplog) == [
        (logging.INFO, "1 of 3 answers don't count: The judge at http://judge refuses (status 410: expired)."),
    ]
    assert play(judge_client, 2)


def test_answers_on_their_way_get_a_moment_at_the_end_and_no_more(make_judge_client: MakeJudgeClient) -> None:
    judge = MemoryJudge()
    judge_client = make_judge_client(judge)
    judge_client.begin(1, 1)
    settle(judge_client)
    judge_client.submit([(question, "2") for question in judge_client.questions()], round=1)
    judge_client.close()
    assert judge_client.take_scores() == [1.0, 1.0]
    judge_client.begin(2, 2)
    judge_client.submit([(Question(session_id="x", text="?"), "2")], round=2)
    judge_client.close()
    assert len(judge.asked) == 2 and len(judge.answers) == 2

    hanging = HangingJudge()
    judge_client = make_judge_client(hanging)
    judge_client.begin(1, 1)
    assert hanging.called.wait(10)
    began = time.monotonic()
    judge_client.close()
    assert time.monotonic() - began < 3
    hanging.released.set()
    settle_after_close(judge_client)
    assert len(hanging.asked) == 1  # The question that it hung in, and none after.


def settle_after_close(judge_client: JudgeClient) -> None:
    assert judge_client._background.close(timeout_seconds=20)


class OwnJudge:
    """Somebody's own kind, which does as it likes."""

    def __init__(self, ask: Callable[[], Any], submit: Callable[[], Any]) -> None:
        self.asks, self.submits = ask, submit

    def ask(self, *, user_id: str, round: int, model_name: str) -> Any:
        return self.asks()

    def submit(self, question: Question, *, round: int, answer: str) -> Any:
        return self.submits()

    def current_clue(self) -> Clue | None:
        return None

    def close(self) -> None:
        """Nothing to do."""


def raises() -> Any:
    raise RuntimeError("it fell over")


def good() -> Question:
    return Question(session_id="1", text="What is 1 + 1?")


@pytest.mark.parametrize(
    ("ask", "submit"),
    [
        (raises, lambda: 1.0),
        (lambda: None, lambda: 1.0),
        (lambda: {"session_id": "1", "question": "?"}, lambda: 1.0),
        (lambda: Question(session_id=[1], text="?"), lambda: 1.0),  # type: ignore[arg-type]
        (lambda: Question(session_id="1", text=None), lambda: 1.0),  # type: ignore[arg-type]
        (good, raises),
        (good, lambda: None),
        (good, lambda: "a lot"),
        (good, lambda: float("nan")),
        (good, lambda: 2),
    ],
)
def test_somebodys_own_judge_that_is_wrong_is_an_absent_one(
    make_judge_client: MakeJudgeClient, clock: Clock, caplog: pytest.LogCaptureFixture, ask: Any, submit: Any
) -> None:
    judge = OwnJudge(ask, submit)
    judge_client = make_judge_client(judge)
    with caplog.at_level(logging.INFO, logger="rl_swarm.judge"):
        play(judge_client, 1)
        assert judge_client.take_scores() == []
        assert not play(judge_client, 2)  # It is left alone now.
        assert [level for level, _ in of_judge(caplog)] == [logging.WARNING]
        assert "OwnJudge" in of_judge(caplog)[0][1]
        judge.asks, judge.submits = good, lambda: 1
        clock.now += 10
        assert play(judge_client, 3)
    assert judge_client.take_scores() == [1.0, 1.0]
    assert of_judge(caplog)[-1] == (logging.INFO, "The judge answers again.")


@pytest.mark.parametrize("behaviour", stand_in.WRONG, ids=lambda behaviour: behaviour.__name__)
@pytest.mark.parametrize("when", ["asked", "answered"])
def test_whatever_a_judge_does_rounds_go_on_and_it_is_asked_again_later(
    make_judge_client: MakeJudgeClient, clock: Clock, behaviour: Behaviour, when: str
) -> None:
    with JudgeStandIn().served() as server:
        judge_client = make_judge_client(HttpJudge(server.url, timeout_seconds=0.5))
        taken: list[Question] = []
        if when == "answered":
            judge_client.begin(1, 1)
            settle(judge_client)
            taken = judge_client.questions()
        server.behaviour = behaviour
        server.is_asked.clear()
        # The server is in the middle of its wrong answer, and none of these waits for it.
        judge_client.submit([(question, "2") for question in taken], round=1)
        judge_client.begin(2, 2)
        assert server.is_asked.wait(10)
        for round in range(3, 50):
            judge_client.begin(round, round)
            assert judge_client.questions() == [] and judge_client.take_scores() == []
        settle(judge_client)
        assert judge_client.questions() == [] and judge_client.take_scores() == []
        server.behaviour = stand_in.right
        clock.now += 400
        assert len(play(judge_client, 50)) == 2
        assert judge_client.take_scores() == [0.25, 0.25]

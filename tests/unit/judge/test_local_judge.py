"""The judge that a host runs: what it asks, what it refuses, what it remembers."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rgym_exp.errors import SwarmUserError
from rgym_exp.judge.local_judge import MAX_ANSWER_BYTES, MAX_AT_ONCE, Asked, LocalJudge
from rgym_exp.judge.sessions import SessionLimits, SessionRefused, Sessions
from rgym_exp.tasks.drawing import is_held_out
from rgym_exp.types import Problem
from simulation.memory_tasks import MemoryTasks


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Tasks(MemoryTasks):
    """Small sums, with a scorer that can be held up, and told to fail."""

    def __init__(self) -> None:
        super().__init__(largest=1000)
        self.free = threading.Event()
        self.free.set()
        self.broken = False
        self.closed = False

    def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
        assert self.free.wait(20)
        if self.broken:
            raise SwarmUserError("The scoring worker doesn't start.")
        return super().score(answers)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


MakeJudge = Callable[..., LocalJudge]


@pytest.fixture
async def make_judge(tmp_path: Path, tasks: Tasks, clock: Clock) -> AsyncIterator[MakeJudge]:
    made: list[LocalJudge] = []

    def make(**options: Any) -> LocalJudge:
        settings: dict[str, Any] = {
            "open_source": lambda: tasks,
            "record_path": tmp_path / "judge.sqlite",
            "swarm_round": lambda: 7,
            "clock": clock,
            **options,
        }
        made.append(LocalJudge(**settings))
        return made[-1]

    yield make
    tasks.free.set()
    for judge in made:
        await judge.close()


async def ask(judge: LocalJudge, peer_id: object = "QmA", *, round: object = 7, address: str = "10.0.0.1") -> Asked:
    return await judge.ask(peer_id=peer_id, model_name="model", round=round, address=address)


def right(question: str) -> str:
    left, _, right = question.removeprefix("What is ").removesuffix("?").split()
    return f"<answer>{int(left) + int(right)}</answer>"


async def reason(refused: Any) -> str:
    """Why a call is refused."""
    with pytest.raises(SessionRefused) as caught:
        await refused
    return caught.value.reason


async def test_a_right_answer_scores_one_and_is_remembered_under_its_peer_model_and_round(
    make_judge: MakeJudge,
) -> None:
    judge = make_judge()
    asked = [await ask(judge) for _ in range(3)]
    scores = [await judge.submit(session_id=one.session_id, answer=right(one.question)) for one in asked[:2]]
    scores.append(await judge.submit(session_id=asked[2].session_id, answer="<answer>no</answer>"))
    assert scores == [1.0, 1.0, 0.0]
    tally = judge.tallies()["QmA"]
    assert (tally.answers, tally.right, tally.last_round, tally.asked, tally.model_name) == (3, 2.0, 7, 3, "model")
    assert [(one.round, one.answers) for one in judge.rounds_of("QmA")] == [(7, 3)]
    assert judge.answers == 3


async def test_every_question_is_held_out_and_nobody_can_choose_one(make_judge: MakeJudge) -> None:
    judge = make_judge(limits=SessionLimits(per_asker_and_round=100, per_peer_and_round=100))
    questions = [(await ask(judge)).question for _ in range(60)]
    assert all(is_held_out(question) for question in questions)
    # Of some 125,000 held-out sums, 60 draws share one with probability 0.014; the same peer, round and model.
    assert len(set(questions)) >= 59


async def test_a_session_takes_one_answer(make_judge: MakeJudge) -> None:
    judge = make_judge()
    asked = await ask(judge)
    await judge.submit(session_id=asked.session_id, answer="<answer>no</answer>")
    assert await reason(judge.submit(session_id=asked.session_id, answer=right(asked.question))) == "answered"
    assert judge.tallies()["QmA"].right == 0.0


async def test_a_session_ends_and_is_forgotten_some_time_after(make_judge: MakeJudge, clock: Clock) -> None:
    judge = make_judge()
    asked = await ask(judge)
    clock.now += 601
    assert await reason(judge.submit(session_id=asked.session_id, answer="x")) == "expired"
    clock.now += 601
    await ask(judge, "QmB")
    assert await reason(judge.submit(session_id=asked.session_id, answer="x")) == "unknown"


async def test_a_session_that_nobody_began_is_unknown(make_judge: MakeJudge) -> None:
    assert await reason(make_judge().submit(session_id="ab" * 16, answer="x")) == "unknown"


@pytest.mark.parametrize(
    "asked",
    [
        {"peer_id": ""},
        {"peer_id": "Q" * 129},
        {"peer_id": "Qm\n"},
        {"peer_id": "Qm\x1b[31m"},
        {"peer_id": "\ud800"},
        {"peer_id": None},
        {"peer_id": 5},
        {"model_name": "m" * 201},
        {"model_name": "a\x00b"},
        {"model_name": ["m"]},
        {"round": -1},
        {"round": 9},
        {"round": 10**30},
        {"round": True},
        {"round": 7.0},
        {"round": "7"},
        {"round": None},
    ],
)
async def test_what_no_honest_peer_asks_is_refused(make_judge: MakeJudge, asked: dict[str, Any]) -> None:
    call = {"peer_id": "QmA", "model_name": "model", "round": 7, "address": "10.0.0.1", **asked}
    assert await reason(make_judge().ask(**call)) == "malformed"


async def test_the_swarms_next_round_and_those_just_over_may_be_asked_for(make_judge: MakeJudge) -> None:
    judge = make_judge(swarm_round=lambda: 100)
    assert [(await ask(judge, round=round)).round for round in (101, 100, 90)] == [101, 100, 90]
    assert await reason(ask(judge, round=89)) == "malformed"


async def test_before_the_swarms_round_is_known_nobody_is_asked(make_judge: MakeJudge) -> None:
    assert await reason(ask(make_judge(swarm_round=lambda: -1))) == "busy"


@pytest.mark.parametrize("answer", [None, 5, ["x"], "x" * (MAX_ANSWER_BYTES + 1), "€" * (MAX_ANSWER_BYTES // 3 + 1)])
async def test_an_answer_is_a_text_of_bounded_size(make_judge: MakeJudge, answer: object) -> None:
    judge = make_judge()
    asked = await ask(judge)
    assert await reason(judge.submit(session_id=asked.session_id, answer=answer)) == "malformed"
    assert await judge.submit(session_id=asked.session_id, answer=right(asked.question)) == 1.0


async def test_half_a_character_in_an_answer_harms_nobody(make_judge: MakeJudge) -> None:
    judge = make_judge()
    asked = await ask(judge)
    assert await judge.submit(session_id=asked.session_id, answer="\ud800" + right(asked.question)) == 1.0


async def test_a_peer_is_asked_sixteen_questions_a_round_at_one_address_and_more_at_others(
    make_judge: MakeJudge,
) -> None:
    judge = make_judge()
    for _ in range(16):
        await ask(judge)
    assert await reason(ask(judge)) == "too many"
    assert (await ask(judge, "QmB")).question
    assert (await ask(judge, round=8)).question
    # Whoever used up the peer's name at one address has not done so at the peer's own.
    assert (await ask(judge, address="10.0.0.2")).question
    for address in range(3, 6):
        for _ in range(15 + (address == 5)):
            await ask(judge, address=f"10.0.0.{address}")
    # 16 + 1 + 15 + 15 + 16 = 63 so far.
    await ask(judge, address="10.0.0.9")
    assert await reason(ask(judge, address="10.0.0.10")) == "too many"


def begin(sessions: Sessions, *, peer_id: str = "QmA", address: str = "10.0.0.1") -> str:
    return sessions.begin(peer_id=peer_id, model_name="m", round=1, address=address, number=1).session_id


def test_sessions_are_bounded_by_address_and_in_all_and_the_oldest_go() -> None:
    sessions = Sessions(SessionLimits(per_address=3, in_all=5))
    first = [begin(sessions, peer_id=f"Qm{number}") for number in range(3)]
    with pytest.raises(SessionRefused, match="this address"):
        begin(sessions, peer_id="Qm9")
    for number in range(4):
        begin(sessions, peer_id=f"Qm{number}", address=f"10.0.1.{number}")
    assert len(sessions) == 5
    with pytest.raises(SessionRefused, match="no such session"):
        sessions.answer(first[0])
    assert sessions.answer(first[2]).peer_id == "Qm2"
    # Two of the first address are forgotten, and so two more may begin there.
    begin(sessions, peer_id="Qm9")


def test_what_sessions_are_counted_by_is_forgotten_with_them(clock: Clock) -> None:
    sessions = Sessions(SessionLimits(lifetime_seconds=10), clock=clock)
    for number in range(100):
        sessions.answer(begin(sessions, peer_id=f"Qm{number}", address=f"10.0.0.{number}"))
        clock.now += 1
    assert len(sessions) == 21
    counts = (sessions._of_asker, sessions._of_peer, sessions._of_address, sessions._answered)
    assert [len(count) for count in counts] == [21, 21, 0, 21]


def test_an_answered_session_makes_room_at_its_address() -> None:
    sessions = Sessions(SessionLimits(per_address=2))
    first, _ = [begin(sessions, peer_id=f"Qm{number}") for number in range(2)]
    answered = sessions.answer(first)
    begin(sessions, peer_id="Qm2")
    sessions.reopen(answered)
    with pytest.raises(SessionRefused, match="this address"):
        begin(sessions, peer_id="Qm3")


async def test_a_rounds_questions_come_in_one_request_and_so_do_their_scores(make_judge: MakeJudge) -> None:
    judge = make_judge()
    asked = await judge.ask_many(peer_id="QmA", model_name="model", round=7, count=4, address="10.0.0.1")
    assert len({one.question for one in asked}) == 4
    answers: list[tuple[object, object]] = [(one.session_id, right(one.question)) for one in asked[:2]]
    answers += [("ab" * 16, "x"), (asked[2].session_id, None), (asked[3].session_id, "<answer>no</answer>")]
    results = await judge.submit_many(answers)
    told = [each.reason if isinstance(each, SessionRefused) else each for each in results]
    assert told == [1.0, 1.0, "unknown", "malformed", 0.0]
    assert (judge.tallies()["QmA"].asked, judge.tallies()["QmA"].answers) == (4, 3)


async def test_who_may_have_no_more_gets_what_is_left(make_judge: MakeJudge) -> None:
    judge = make_judge(limits=SessionLimits(per_asker_and_round=6))
    counts = [
        len(await judge.ask_many(peer_id="QmA", model_name="m", round=7, count=4, address="10.0.0.1")) for _ in range(2)
    ]
    assert counts == [4, 2]


@pytest.mark.parametrize("count", [0, -1, MAX_AT_ONCE + 1, True, 2.0, "4", None])
async def test_a_count_of_questions_is_a_small_whole_number(make_judge: MakeJudge, count: object) -> None:
    asking = make_judge().ask_many(peer_id="QmA", model_name="m", round=7, count=count, address="10.0.0.1")
    assert await reason(asking) == "malformed"


async def test_a_thousand_peers_that_start_together_all_get_their_questions(make_judge: MakeJudge) -> None:
    judge = make_judge()
    asked = await asyncio.gather(
        *(
            judge.ask_many(peer_id=f"Qm{n}", model_name="m", round=7, count=4, address=f"10.0.{n // 250}.{n % 250}")
            for n in range(1000)
        )
    )
    assert [len(each) for each in asked] == [4] * 1000
    assert all(len({one.question for one in each}) == 4 for each in asked)


async def test_an_answer_that_its_client_no_longer_waits_for_may_be_handed_in_again(
    make_judge: MakeJudge, tasks: Tasks
) -> None:
    judge = make_judge()
    asked = [await ask(judge) for _ in range(2)]
    tasks.free.clear()
    submitting = [
        asyncio.create_task(judge.submit(session_id=one.session_id, answer=right(one.question))) for one in asked
    ]
    await asyncio.sleep(0)  # The first one is being scored, the second waits.
    submitting[1].cancel()
    await asyncio.gather(submitting[1], return_exceptions=True)
    tasks.free.set()
    assert await submitting[0] == 1.0
    assert await judge.submit(session_id=asked[1].session_id, answer=right(asked[1].question)) == 1.0


async def test_a_scorer_that_fails_leaves_the_session_open(
    make_judge: MakeJudge, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    judge = make_judge()
    asked = await ask(judge)
    tasks.broken = True
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await reason(judge.submit(session_id=asked.session_id, answer=right(asked.question))) == "busy"
    assert caplog.text.count("can neither ask nor score") == 1
    tasks.broken = False
    assert await judge.submit(session_id=asked.session_id, answer=right(asked.question)) == 1.0


async def test_a_busy_scorer_keeps_no_more_waiting_than_it_can_bear(make_judge: MakeJudge, tasks: Tasks) -> None:
    judge = make_judge(max_waiting=8)
    asked = [await ask(judge, f"Qm{number}") for number in range(9)]
    tasks.free.clear()
    waiting = [
        asyncio.create_task(judge.submit(session_id=one.session_id, answer=right(one.question))) for one in asked[:-1]
    ]
    await asyncio.sleep(0)  # They all come before the one that is too many.
    assert await reason(judge.submit(session_id=asked[-1].session_id, answer=right(asked[-1].question))) == "busy"
    assert (await ask(judge, "QmLate")).question  # Questions are drawn already, and wait for no scorer.
    tasks.free.set()
    assert await asyncio.gather(*waiting) == [1.0] * 8
    assert await judge.submit(session_id=asked[-1].session_id, answer=right(asked[-1].question)) == 1.0


async def test_nothing_is_loaded_before_it_is_needed(make_judge: MakeJudge, tasks: Tasks) -> None:
    opened = threading.Event()

    def open_source() -> Tasks:
        opened.set()
        return tasks

    judge = make_judge(open_source=open_source)
    assert (judge.ready, judge.answers, judge.tallies(), opened.is_set()) == (False, 0, {}, False)
    await ask(judge)
    assert judge.ready and opened.is_set()


async def test_a_question_waits_a_moment_for_the_judge_to_be_ready_and_no_longer(
    make_judge: MakeJudge, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rgym_exp.judge.local_judge as local

    loaded = threading.Event()

    def open_source() -> Tasks:
        assert loaded.wait(20)
        return tasks

    judge = make_judge(open_source=open_source)
    monkeypatch.setattr(local, "LOADING_DEADLINE_SECONDS", 0.02)
    with pytest.raises(SessionRefused, match="getting its questions ready") as refused:
        await ask(judge)
    assert refused.value.retry_after_seconds == 5
    monkeypatch.setattr(local, "LOADING_DEADLINE_SECONDS", 20.0)
    question = asyncio.create_task(ask(judge))
    loaded.set()
    assert (await question).question


async def test_a_judge_that_became_ready_when_nobody_waited_any_more_has_questions(
    make_judge: MakeJudge, tasks: Tasks
) -> None:
    loaded = threading.Event()

    def open_source() -> Tasks:
        assert loaded.wait(20)
        return tasks

    judge = make_judge(open_source=open_source)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await judge.load()
    loaded.set()
    async with asyncio.timeout(20):
        while not judge.ready:
            await asyncio.sleep(0.01)
        assert (await ask(judge)).question


async def test_a_source_that_can_not_be_opened_is_tried_again_when_somebody_asks(
    make_judge: MakeJudge, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [SwarmUserError("No tasks file is called so."), OSError("The disk is full.")]

    def open_source() -> Tasks:
        if failures:
            raise failures.pop()
        return tasks

    judge = make_judge(open_source=open_source)
    with caplog.at_level(logging.WARNING):
        assert [await reason(ask(judge)) for _ in range(2)] == ["busy", "busy"]
    assert caplog.text.count("can't be made ready") == 1
    assert (await ask(judge)).question


async def test_a_restarted_judge_goes_on_with_its_record_and_knows_no_old_sessions(make_judge: MakeJudge) -> None:
    first = make_judge()
    asked = [await ask(first) for _ in range(2)]
    await first.submit(session_id=asked[0].session_id, answer=right(asked[0].question))
    await first.close()
    again = make_judge()
    await again.load()
    assert again.answers == 1 and again.tallies()["QmA"].answers == 1
    assert await reason(again.submit(session_id=asked[1].session_id, answer="x")) == "unknown"


async def test_closing_ends_the_scorer(make_judge: MakeJudge, tasks: Tasks) -> None:
    judge = make_judge()
    await judge.load()
    await judge.close()
    assert tasks.closed and not judge.ready

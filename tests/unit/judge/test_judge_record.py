"""What a judge remembers, across restarts and damage."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from rgym_exp.judge.judge_record import HandedOut, JudgedAnswer, JudgeRecord, RoundTally, Tally


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub" / "judge.sqlite"


@pytest.fixture
def record(path: Path) -> Iterator[JudgeRecord]:
    record = JudgeRecord(path)
    yield record
    record.close()


def answer(
    peer_id: str = "QmA", score: float = 1.0, round: int = 3, model: str = "m", time: float = 1.0
) -> JudgedAnswer:
    return JudgedAnswer(
        time=time, session_id="ab" * 16, peer_id=peer_id, model_name=model, round=round, dataset="gcd", score=score
    )


def test_a_tally_is_the_sum_of_a_peers_answers(record: JudgeRecord) -> None:
    for _ in range(4):
        record.asked([HandedOut(peer_id="QmA", model_name="m", round=3, time=1.0, questions=1)])
    record.add([answer(score=1.0, round=3)])
    record.add([answer(score=0.0, round=4)])
    record.add([answer(score=0.5, round=2, model="other")])
    record.add([answer("QmB", score=1.0)])
    tallies = record.tallies()
    assert tallies["QmA"] == Tally(model_name="other", answers=3, right=1.5, last_round=4, asked=4)
    assert tallies["QmB"] == Tally(model_name="m", answers=1, right=1.0, last_round=3, asked=0)
    assert record.answer_count() == 4


def test_a_peer_that_answered_nothing_has_no_tally(record: JudgeRecord) -> None:
    record.asked([HandedOut(peer_id="QmA", model_name="m", round=3, time=1.0, questions=1)])
    assert record.tallies() == {}


def test_answers_are_summed_by_model_and_round_too(record: JudgeRecord) -> None:
    record.asked([HandedOut(peer_id="QmA", model_name="m", round=3, time=1.0, questions=1)])
    for score in (1.0, 0.0):
        record.add([answer(score=score, round=3)])
    record.add([answer(score=1.0, round=4, model="other")])
    assert record.rounds_of("QmA") == [
        RoundTally(model_name="other", round=4, answers=1, right=1.0, asked=0),
        RoundTally(model_name="m", round=3, answers=2, right=1.0, asked=1),
    ]
    assert record.rounds_of("QmNobody") == []


def test_a_record_opened_again_goes_on_where_it_was(path: Path) -> None:
    first = JudgeRecord(path)
    first.add([answer()])
    first.close()
    again = JudgeRecord(path)
    again.add([answer(score=0.0)])
    assert again.tallies()["QmA"] == Tally(model_name="m", answers=2, right=1.0, last_round=3, asked=0)
    assert again.answer_count() == 2
    again.close()


@pytest.mark.parametrize(
    "content", [b"not a database, and longer than a header is " * 4, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_damaged_record_is_kept_aside_and_a_new_one_begins(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        record = JudgeRecord(path)
    record.add([answer()])
    assert record.answer_count() == 1
    record.close()
    assert [kept.read_bytes() for kept in path.parent.glob("judge.sqlite.damaged-*")] == [content]
    assert "can't be used" in caplog.text


def test_a_database_of_something_else_is_no_record(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE peers (name TEXT)")
    other.close()
    record = JudgeRecord(path)
    record.add([answer()])
    assert record.tallies()["QmA"].answers == 1
    record.close()
    assert len(list(path.parent.glob("judge.sqlite.damaged-*"))) == 1


def test_a_record_whose_place_can_not_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "judge.sqlite").mkdir()
    with pytest.raises(OSError, match="can't be opened"):
        JudgeRecord(tmp_path / "judge.sqlite")


def test_what_is_oldest_goes_first_and_sums_outlive_single_answers(record: JudgeRecord, path: Path) -> None:
    for number in range(20):
        record.add([answer(f"Qm{number % 4}", round=number, time=float(number))])
    record.prune(answers=5, sums=8, peers=3)
    assert set(record.tallies()) == {"Qm1", "Qm2", "Qm3"}
    assert record.tallies()["Qm3"].answers == 5
    assert [tally.round for tally in record.rounds_of("Qm3")] == [19, 15]
    assert record.answer_count() == 20
    record.close()
    with sqlite3.connect(path) as looked_at:
        assert looked_at.execute("SELECT count(*), min(round) FROM answers").fetchone() == (5, 15)
    looked_at.close()


def test_a_record_that_can_not_be_written_warns_once_and_goes_on(
    record: JudgeRecord, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE answers")
    other.close()
    with caplog.at_level(logging.WARNING):
        record.add([answer()])
        record.add([answer()])
    assert caplog.text.count("can't be recorded") == 1
    # One answer is recorded whole or not at all.
    assert record.tallies() == {}

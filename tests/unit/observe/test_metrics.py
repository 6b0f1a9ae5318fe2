"""Round reports as JSON lines."""

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgym_exp.observe.metrics import from_json, peak_memory_bytes, read_reports, scalars, to_json
from rgym_exp.observe.tracker import JsonLinesTracker
from rgym_exp.types import RoundReport


def report(**changes: Any) -> RoundReport:
    base = RoundReport(
        round=131,
        step=57,
        time=1_700_000_000.5,
        skipped=0,
        own_groups=4,
        foreign_groups=3,
        foreign_peers=("QmA", "QmB"),
        own_reward=0.31,
        foreign_reward=None,
        held_out=0.25,
        zero_variance_share=0.5,
        truncated_share=0.1,
        loss=0.01,
        entropy=0.9,
        grad_norm=0.4,
        clip_share=0.0,
        tokens_per_second=236.0,
        phase_seconds={"generate": 7.5, "train": 5.0},
        peak_memory_bytes=2**31,
        outbox_depth=2,
        dropped={"late": 1},
        vote="QmA",
    )
    return replace(base, **changes)


def test_a_report_reads_back_as_it_was() -> None:
    assert from_json(to_json(report())) == report()
    assert from_json(to_json(report(vote=None, held_out=None, foreign_peers=(), dropped={}))) == report(
        vote=None, held_out=None, foreign_peers=(), dropped={}
    )


def test_the_keys_are_the_field_names_and_one_line_is_one_round() -> None:
    line = to_json(report(foreign_peers=("a\nb",)))
    assert "\n" not in line
    assert list(json.loads(line)) == [field.name for field in fields(RoundReport)]


def test_a_number_that_is_not_finite_is_null_and_reads_back_as_nan() -> None:
    line = to_json(report(loss=math.nan, grad_norm=math.inf))
    assert json.loads(line)["loss"] is None
    assert math.isnan(from_json(line).loss)


def test_a_line_of_another_version_reads_too() -> None:
    content = json.loads(to_json(report()))
    content["new_key"] = {"a": 1}
    for key in ("entropy", "dropped", "foreign_peers", "skipped", "vote"):
        del content[key]
    read = from_json(json.dumps(content))
    assert math.isnan(read.entropy)
    assert (read.dropped, read.foreign_peers, read.skipped, read.vote) == ({}, (), 0, None)
    assert read.own_reward == 0.31


BIG = '{"round": Infinity, "step": 1, "time": 0}'


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "5", '{"round": 1}', '{"round": "1", "step": 1, "time": 0}', "[" * 9999]
)
def test_what_is_no_round_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        from_json(line)


ANY_VALUE = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from([field.name for field in fields(RoundReport)]), ANY_VALUE))
def test_values_of_odd_types_give_a_report_or_a_refusal(content: dict[str, Any]) -> None:
    try:
        read = from_json(json.dumps({"round": 1, "step": 1, "time": 0.0, **content}))
    except ValueError:
        return
    assert isinstance(read.own_groups, int) and isinstance(read.dropped, dict)


def test_a_resumed_run_reads_the_curve_and_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "metrics.jsonl"
    first = JsonLinesTracker(path)
    for step in (1, 2):
        first.log_round(report(step=step))
    first.close()
    with path.open("a") as file:
        file.write(to_json(report(step=3))[:50])

    second = JsonLinesTracker(path)
    second.log_round(report(step=4))
    second.close()
    assert [read.step for read in read_reports(path)] == [1, 2, 4]


def test_no_file_is_no_curve(tmp_path: Path) -> None:
    assert read_reports(tmp_path / "metrics.jsonl") == []


def test_bytes_that_are_no_text_cost_only_their_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\xff\xfe\n" + to_json(report()).encode() + b"\n")
    assert read_reports(path) == [report()]


def test_scalars_leave_out_what_is_unknown_and_name_the_phases() -> None:
    numbers = scalars(report())
    assert "reward/foreign" not in numbers
    assert (numbers["reward/held_out"], numbers["seconds/train"], numbers["swarm/dropped"]) == (0.25, 5.0, 1.0)
    assert numbers["swarm/peers"] == 2.0


def test_this_process_has_used_memory() -> None:
    assert 5_000_000 < peak_memory_bytes() < 1 << 40

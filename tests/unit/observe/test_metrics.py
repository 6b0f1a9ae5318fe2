"""Round reports as JSON lines."""

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgym_exp.aliases import REPORT_KEYS
from rgym_exp.observe.metrics import (
    before_training,
    from_json,
    peak_memory_bytes,
    read_history,
    read_reports,
    scalars,
    to_json,
)
from rgym_exp.observe.tracker import JsonLinesTracker
from rgym_exp.types import RoundReport


def report(**changes: Any) -> RoundReport:
    base = RoundReport(
        round=131,
        step=57,
        time=1_700_000_000.5,
        skipped=0,
        local_groups=4,
        external_groups=3,
        external_peers=("QmA", "QmB"),
        local_reward=0.31,
        external_reward=None,
        held_out=0.25,
        zero_advantage_share=0.5,
        truncated_share=0.1,
        loss=0.01,
        entropy=0.9,
        grad_norm=0.4,
        clip_share=0.0,
        tokens_per_second=236.0,
        phase_seconds={"generate": 7.5, "train": 5.0},
        peak_memory_bytes=2**31,
        outbox_depth=2,
        dropped={"late": 1, "bad_signature": 2},
        vote="QmA",
        external_weights={"mean": 0.95, "min": 0.8, "max": 1.0, "share_below_one": 0.25},
        judge_score=0.75,
        judge_answers=4,
        bet_tokens=120.0,
    )
    return replace(base, **changes)


def test_a_report_reads_back_as_it_was() -> None:
    assert from_json(to_json(report())) == report()
    assert from_json(to_json(report(vote=None, held_out=None, external_peers=(), dropped={}))) == report(
        vote=None, held_out=None, external_peers=(), dropped={}
    )


def test_a_round_without_the_hub_keeps_its_count_and_older_lines_have_none() -> None:
    assert from_json(to_json(report(interim=3))).interim == 3
    assert scalars(report(interim=3))["swarm/interim"] == 3.0
    older = json.loads(to_json(report()))
    del older["interim"]
    assert from_json(json.dumps(older)).interim == 0


def test_the_keys_are_the_field_names_and_one_line_is_one_round() -> None:
    line = to_json(report(external_peers=("a\nb",)))
    assert "\n" not in line
    assert list(json.loads(line)) == [field.name for field in fields(RoundReport)]


def test_a_number_that_is_not_finite_is_null_and_reads_back_as_nan() -> None:
    line = to_json(report(loss=math.nan, grad_norm=math.inf))
    assert json.loads(line)["loss"] is None
    assert math.isnan(from_json(line).loss)


def test_a_line_of_another_version_reads_too() -> None:
    content = json.loads(to_json(report()))
    content["new_key"] = {"a": 1}
    for key in (
        "entropy",
        "dropped",
        "external_peers",
        "skipped",
        "vote",
        "external_weights",
        "judge_score",
        "bet_tokens",
    ):
        del content[key]
    read = from_json(json.dumps(content))
    assert (read.external_weights, read.judge_score, read.bet_tokens) == ({}, None, None)
    assert math.isnan(read.entropy)
    assert (read.dropped, read.external_peers, read.skipped, read.vote) == ({}, (), 0, None)
    assert read.local_reward == 0.31


def test_a_line_of_the_version_before_reads_by_its_old_keys() -> None:
    line = to_json(report())
    for old, new in REPORT_KEYS.items():
        assert f'"{new}":' in line
        line = line.replace(f'"{new}":', f'"{old}":')
    assert from_json(line) == report()


BIG = '{"round": Infinity, "step": 1, "time": 0}'


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "5", '{"round": 1}', '{"round": "1", "step": 1, "time": 0}', "[" * 9999]
)
def test_what_is_no_round_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        from_json(line)


def test_the_accuracy_before_training_is_a_line_of_its_own_and_no_round(tmp_path: Path) -> None:
    before = before_training(0.07, time=5.0)
    assert json.loads(to_json(before)) == {"round": 0, "step": 0, "time": 5.0, "held_out": 0.07}
    assert scalars(before) == {"reward/held_out": 0.07}
    path = tmp_path / "metrics.jsonl"
    path.write_text(f"{to_json(before)}\n{to_json(report())}\n")
    assert [read.is_before_training for read in read_history(path)] == [True, False]
    assert read_reports(path) == [report()]


ANY_VALUE = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from([field.name for field in fields(RoundReport)]), ANY_VALUE))
def test_values_of_odd_types_give_a_report_or_a_refusal(content: dict[str, Any]) -> None:
    try:
        read = from_json(json.dumps({"round": 1, "step": 1, "time": 0.0, **content}))
    except ValueError:
        return
    assert isinstance(read.local_groups, int) and isinstance(read.dropped, dict)


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


def test_every_number_of_a_report_has_one_name() -> None:
    assert scalars(report(external_reward=0.5)) == {
        "reward/local": 0.31,
        "reward/external": 0.5,
        "reward/held_out": 0.25,
        "groups/local": 4.0,
        "groups/external": 3.0,
        "groups/external_share": pytest.approx(3 / 7),
        "groups/zero_advantage_share": 0.5,
        "groups/truncated_share": 0.1,
        "weights/mean": 0.95,
        "weights/min": 0.8,
        "weights/max": 1.0,
        "weights/share_below_one": 0.25,
        "train/loss": 0.01,
        "train/entropy": 0.9,
        "train/grad_norm": 0.4,
        "train/clip_share": 0.0,
        "speed/tokens_per_second": 236.0,
        "speed/peak_memory_bytes": 2.0**31,
        "seconds/generate": 7.5,
        "seconds/train": 5.0,
        "swarm/round": 131.0,
        "swarm/skipped": 0.0,
        "swarm/peers": 2.0,
        "swarm/dropped": 3.0,
        "dropped/late": 1.0,
        "dropped/bad_signature": 2.0,
        "chain/outbox_depth": 2.0,
        "judge/score": 0.75,
        "judge/answers": 4.0,
        "market/bet_tokens": 120.0,
    }


def test_what_a_node_alone_has_nothing_of_is_left_out() -> None:
    alone = report(
        external_groups=0, external_peers=(), external_reward=None, external_weights={}, held_out=None, dropped={},
        judge_score=None, judge_answers=0, bet_tokens=None,
    )  # fmt: skip
    names = scalars(alone)
    assert names["groups/external_share"] == 0.0
    absent = ("reward/external", "reward/held_out", "weights/mean", "judge/score", "judge/answers", "market/bet_tokens")
    assert not set(absent) & set(names)
    assert "groups/external_share" not in scalars(report(local_groups=0, external_groups=0))


def test_this_process_has_used_memory() -> None:
    assert 5_000_000 < peak_memory_bytes() < 1 << 40

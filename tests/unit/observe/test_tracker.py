"""Trackers keep reports, and never stop a run."""

import logging
import threading
from pathlib import Path

import pytest

from rgym_exp.observe.metrics import read_reports
from rgym_exp.observe.services import make_tracker
from rgym_exp.observe.tracker import BehindTheRounds, Trackers
from rgym_exp.types import RoundReport
from simulation.memory_observers import MemoryTracker


def report(step: int = 1) -> RoundReport:
    return RoundReport(
        round=step + 70, step=step, time=1_700_000_000.0 + step, skipped=0, local_groups=4, external_groups=0,
        external_peers=(), local_reward=0.1 * step, external_reward=None, held_out=None, zero_advantage_share=0.0,
        truncated_share=0.0, loss=0.0, entropy=1.0, grad_norm=1.0, clip_share=0.0, tokens_per_second=100.0,
        phase_seconds={"train": 1.0}, peak_memory_bytes=1, outbox_depth=0, dropped={}, vote=None,
    )  # fmt: skip


class Broken:
    """A service that is away, except once."""

    def __init__(self) -> None:
        self.asked = 0

    def log_round(self, report: RoundReport) -> None:
        self.asked += 1
        if self.asked != 3:
            raise ConnectionError("service is away")

    def close(self) -> None:
        raise ConnectionError("service is away")


def test_the_json_lines_are_always_kept(tmp_path: Path) -> None:
    tracker = make_tracker("none", logs=tmp_path, run_name="x", config={})
    tracker.log_round(report())
    tracker.close()
    assert read_reports(tmp_path / "metrics.jsonl") == [report()]


def test_a_tracker_that_fails_stops_neither_the_run_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    broken, kept = Broken(), MemoryTracker()
    trackers = Trackers([broken, kept])
    with caplog.at_level(logging.WARNING, logger="rl_swarm.observe"):
        for step in (1, 2, 3, 4):
            trackers.log_round(report(step))
        trackers.close()
    assert [seen.step for seen in kept.reports] == [1, 2, 3, 4]
    assert kept.closed and broken.asked == 4
    said = [record.getMessage() for record in caplog.records]
    # Once when it fails, not again while it stays away, and once more after it had come back.
    assert (
        said
        == ["Broken failed: ConnectionError: service is away. The run goes on; it is tried again after each round."] * 2
    )


class Hanging:
    """A service that takes a round and doesn't come back before it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.taken: list[int] = []
        self.closed = threading.Event()

    def log_round(self, report: RoundReport) -> None:
        assert self.let_go.wait(30)
        self.taken.append(report.step)

    def close(self) -> None:
        self.closed.set()


def test_a_service_that_hangs_costs_no_round_its_time_and_gets_all_rounds_in_the_end() -> None:
    service = Hanging()
    behind = BehindTheRounds(service)
    for step in (1, 2, 3):
        behind.log_round(report(step))
    assert service.taken == []
    service.let_go.set()
    behind.close()
    assert service.taken == [1, 2, 3]
    assert service.closed.is_set()


def test_a_service_that_still_hangs_at_the_end_is_left_behind_and_named(caplog: pytest.LogCaptureFixture) -> None:
    service = Hanging()
    behind = BehindTheRounds(service, close_seconds=0.05)
    with caplog.at_level(logging.WARNING, logger="rl_swarm.observe"):
        for step in range(1, 1005):
            behind.log_round(report(step))
        behind.close()
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "Hanging is 1000 rounds behind; it gets no more until it has moved on."
    assert said[1] == "Hanging is not done after 0.05 s and is left behind."
    # One of the 1004 may have been in its hands when the thousand were counted.
    assert said[2] in [f"Hanging was not given {count} rounds, since it was too slow." for count in (3, 4)]
    service.let_go.set()
    assert service.closed.wait(30)


def test_a_service_that_fails_behind_the_rounds_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    broken = Broken()
    behind = BehindTheRounds(broken)
    with caplog.at_level(logging.WARNING, logger="rl_swarm.observe"):
        for step in (1, 2):
            behind.log_round(report(step))
        behind.close()
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "Broken failed: ConnectionError: service is away. The run goes on; it is tried again after each round."
    ]

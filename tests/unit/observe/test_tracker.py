"""Trackers keep reports, and never stop a run."""

import logging
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from rgym_exp.observe.metrics import read_reports
from rgym_exp.observe.services import WandbTracker, make_tracker
from rgym_exp.observe.tracker import MemoryTracker, TrackerError, Trackers
from rgym_exp.types import RoundReport


def report(step: int = 1) -> RoundReport:
    return RoundReport(
        round=step + 70, step=step, time=1_700_000_000.0 + step, skipped=0, own_groups=4, foreign_groups=0,
        foreign_peers=(), own_reward=0.1 * step, foreign_reward=None, held_out=None, zero_variance_share=0.0,
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
    assert said == ["Broken failed: service is away. The run goes on; it is tried again after each round."] * 2


def test_tensorboard_can_read_the_curve_back(tmp_path: Path) -> None:
    tracker = make_tracker("tensorboard", logs=tmp_path, run_name="x", config={})
    for step in (1, 2):
        tracker.log_round(report(step))
    tracker.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, round(event.value, 3)) for event in events.Scalars("reward/own")] == [(1, 0.1), (2, 0.2)]


class FakeWandb(types.ModuleType):
    """Records how it was called."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.started: dict[str, Any] = {}
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = False

    def init(self, **arguments: Any) -> "FakeWandb":
        self.started = arguments
        return self

    def Settings(self, **arguments: Any) -> dict[str, Any]:
        return arguments

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.logged.append((step, numbers))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


@pytest.mark.parametrize(
    ("environ", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "k"}, "online"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, "disabled"),
    ],
)
def test_wandb_is_offline_without_a_key(
    tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], mode: str
) -> None:
    tracker = WandbTracker(
        tmp_path, run_name="quiet amber otter", config={"a": 1}, environ={"NETRC": str(tmp_path / "none"), **environ}
    )
    tracker.log_round(report(3))
    tracker.close()
    assert (wandb.started["mode"], wandb.started["name"], wandb.started["dir"]) == (
        mode,
        "quiet amber otter",
        str(tmp_path),
    )
    assert wandb.logged[0][0] == 3 and wandb.logged[0][1]["reward/own"] == pytest.approx(0.3)
    assert wandb.finished


@pytest.mark.parametrize("package", ["wandb", "tensorboard"])
def test_a_missing_package_is_a_sentence_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(TrackerError, match=rf"needs the package {package}.*pip install 'rl-swarm\[{package}\]'"):
        make_tracker(package, logs=tmp_path, run_name="x", config={})


def test_a_wandb_that_refuses_is_a_sentence(tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**arguments: Any) -> None:
        raise RuntimeError("bad key")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(TrackerError, match="wandb can't start: bad key.*WANDB_MODE=offline"):
        make_tracker("wandb", logs=tmp_path, run_name="x", config={})

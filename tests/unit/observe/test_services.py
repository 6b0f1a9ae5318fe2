"""Trackers of others: wandb, TensorBoard and trackio, each for real, without a network."""

import http.server
import importlib
import json
import logging
import os
import signal
import sqlite3
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from rgym_exp.config.environment import secrets_in
from rgym_exp.config.resolved import without_secrets
from rgym_exp.config.schema import Config
from rgym_exp.observe import services
from rgym_exp.observe.metrics import scalars
from rgym_exp.observe.services import TrackioTracker, WandbTracker, make_tracker
from rgym_exp.observe.tracker import TrackerError
from rgym_exp.types import RoundReport

SECRET = "hf_NobodyMayEverReadThisOne"
INVITE = "rlswarm1:NobodyMayReadThisInvite"


def report(step: int = 1) -> RoundReport:
    return RoundReport(
        round=step + 70, step=step, time=1_700_000_000.0 + step, skipped=0, local_groups=4, external_groups=4,
        external_peers=("QmA",), local_reward=0.1 * step, external_reward=0.5, held_out=None, zero_advantage_share=0.0,
        truncated_share=0.0, loss=0.0, entropy=1.0, grad_norm=1.0, clip_share=0.0, tokens_per_second=100.0,
        phase_seconds={"train": 1.0}, peak_memory_bytes=1, outbox_depth=0, dropped={"fetch_failed": 2}, vote=None,
        external_weights={"mean": 0.9, "min": 0.8, "max": 1.0, "share_below_one": 0.25}, judge_score=0.5,
        judge_answers=4, bet_tokens=100.0,
    )  # fmt: skip


STEPS = (1, 2, 3)


class Outside:
    """A proxy and a service at once: whatever wants to leave the machine comes here, is refused and counted."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Refuse(http.server.BaseHTTPRequestHandler):
            def _refuse(self) -> None:
                asked.append(self.requestline)
                self.send_error(500)

            do_GET = do_POST = do_PUT = do_HEAD = do_CONNECT = _refuse

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Outside]:
    """The way out, with a token for the model hub and no key for wandb."""
    outside = Outside()
    for name in list(os.environ):
        if name.startswith(("WANDB_", "TRACKIO_", "HF_HUB_OFFLINE")):
            monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "WANDB_BASE_URL", "HF_ENDPOINT"):
        monkeypatch.setenv(name, outside.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setattr(sys, "argv", ["rl-swarm", "run", "--join", INVITE])
    yield outside
    if "wandb" in sys.modules:
        # A run that could not start leaves settings and a service behind, which are the process's.
        sys.modules["wandb"].teardown()
    outside.close()


def config() -> dict[str, Any]:
    """What a run gives its tracker, of a configuration with a secret in it."""
    own = Config(judge=replace(Config().judge, judge={"_target_": "mine.Judge", "api_key": SECRET, "name": SECRET}))
    given: dict[str, Any] = without_secrets(asdict(own), secrets_in(os.environ))
    return given


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def assert_nothing_private_was_kept(folder: Path) -> None:
    kept = b"".join(path.read_bytes() for path in files_below(folder))
    assert kept
    for private in (SECRET, INVITE, "NobodyMayReadThisInvite"):
        assert private.encode() not in kept


def wandb_history(folder: Path) -> list[dict[str, float]]:
    """The steps in an offline run's file: LevelDB's log format (blocks of 32 KiB, a 7-byte header a chunk) of
    protocol buffers."""
    wandb_internal_pb2: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    (path,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    data, at, record, steps = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # A whole record, or its last chunk.
            parsed = wandb_internal_pb2.Record.FromString(record)
            record = b""
            if parsed.WhichOneof("record_type") == "history":
                steps.append(
                    {item.key or item.nested_key[0]: json.loads(item.value_json) for item in parsed.history.item}
                )
    return steps


def without_wandbs_own(step: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in step.items() if not name.startswith("_")}


def test_wandb_without_a_key_keeps_all_numbers_on_disk_and_asks_nobody(tmp_path: Path, outside: Outside) -> None:
    tracker = make_tracker("wandb", logs=tmp_path, run_name="quiet amber otter", config=config())
    for step in STEPS:
        tracker.log_round(report(step))
    tracker.close()
    history = wandb_history(tmp_path)
    assert [without_wandbs_own(step) for step in history] == [scalars(report(step)) for step in STEPS]
    assert [step["_step"] for step in history] == list(STEPS)
    assert outside.asked == []
    assert_nothing_private_was_kept(tmp_path)


def test_a_wandb_service_that_is_away_leaves_the_run_on_disk_and_says_so(
    tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    with caplog.at_level(logging.WARNING, logger="rl_swarm.observe"):
        tracker = WandbTracker(tmp_path, run_name="quiet amber otter", config=config())
    tracker.log_round(report())
    tracker.close()
    assert outside.asked
    assert [without_wandbs_own(step) for step in wandb_history(tmp_path)] == [scalars(report())]
    assert "wandb's service can't be reached" in caplog.text and "`wandb sync` uploads it later" in caplog.text


def test_a_wandb_that_cannot_start_is_a_sentence(
    tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "sideways")
    with pytest.raises(TrackerError, match=r"wandb can't start: .*sideways.*WANDB_MODE=offline"):
        make_tracker("wandb", logs=tmp_path, run_name="x", config={})


@pytest.mark.parametrize(
    ("environ", "netrc", "has_key"),
    [
        ({}, "", False),
        ({"WANDB_API_KEY": "k"}, "", True),
        ({"WANDB_IDENTITY_TOKEN_FILE": "/token"}, "", True),
        ({}, "machine api.wandb.ai login user password k", True),
        ({}, "machine example.org login user password k", False),
        ({"WANDB_BASE_URL": "https://wandb.example.org/"}, "machine wandb.example.org login user password k", True),
        ({"WANDB_BASE_URL": "https://wandb.example.org/"}, "machine api.wandb.ai login user password k", False),
        ({}, "this is no netrc", False),
    ],
)
def test_a_key_for_wandb_is_found_where_wandb_finds_it(
    tmp_path: Path, environ: dict[str, str], netrc: str, has_key: bool
) -> None:
    (tmp_path / "netrc").write_text(netrc)
    assert services._has_wandb_key({"NETRC": str(tmp_path / "netrc"), **environ}) is has_key


def trackio_database(folder: Path) -> tuple[list[tuple[str, int, dict[str, float]]], dict[str, Any]]:
    """Run name, step and numbers of each step, and the run's configuration, as they stand in trackio's SQLite file."""
    with sqlite3.connect(folder / "rl-swarm.db") as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
        ((kept,),) = database.execute("SELECT config FROM configs").fetchall()
    database.close()
    return [(name, step, json.loads(numbers)) for name, step, numbers in rows], json.loads(kept)


def test_trackio_keeps_all_numbers_in_its_database_and_asks_nobody(tmp_path: Path, outside: Outside) -> None:
    tracker = make_tracker("trackio", logs=tmp_path, run_name="quiet amber otter", config=config())
    for step in STEPS:
        tracker.log_round(report(step))
    tracker.close()
    rows, kept = trackio_database(tmp_path / "trackio")
    assert rows == [("quiet amber otter", step, scalars(report(step))) for step in STEPS]
    assert kept["training"] == config()["training"]
    assert outside.asked == []
    assert_nothing_private_was_kept(tmp_path)


def test_trackio_goes_where_its_own_variable_says(
    tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "shared"))
    tracker = TrackioTracker(tmp_path / "logs", run_name="quiet amber otter", config={})
    tracker.log_round(report())
    tracker.close()
    assert len(trackio_database(tmp_path / "shared")[0]) == 1
    assert not (tmp_path / "logs" / "trackio").exists()


def test_a_trackio_that_cannot_start_is_a_sentence_with_its_reason(
    tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server without the token that it would ask for.
    monkeypatch.setenv("TRACKIO_SERVER_URL", outside.url)
    with pytest.raises(
        TrackerError, match=r"trackio can't start: ValueError: .*write token.*trackio\.log may say more"
    ):
        TrackioTracker(tmp_path, run_name="x", config={})


def trackios() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "rgym_exp.observe.trackio_worker" in child.cmdline()]


def test_the_rounds_outlive_trackios_process(
    tmp_path: Path, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = make_tracker("trackio", logs=tmp_path, run_name="x", config={})
    (process,) = trackios()
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    with caplog.at_level(logging.WARNING, logger="rl_swarm.observe"):
        tracker.log_round(report(1))
        tracker.log_round(report(2))
        tracker.close()
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1
    assert said[0].startswith("TrackioTracker failed: trackio's process has ended;")
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_trackio_ends_with_the_node(tmp_path: Path, outside: Outside) -> None:
    tracker = make_tracker("trackio", logs=tmp_path, run_name="x", config={})
    tracker.log_round(report())
    (process,) = trackios()
    # Another session, so that a Ctrl-C in the node's terminal doesn't reach it.
    assert os.getsid(process.pid) != os.getsid(0)
    tracker.close()
    assert not process.is_running() and trackios() == []


def test_tensorboard_can_read_the_curve_back(tmp_path: Path) -> None:
    tracker = make_tracker("tensorboard", logs=tmp_path, run_name="x", config={})
    for step in STEPS:
        tracker.log_round(report(step))
    tracker.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == sorted(scalars(report()))
    for name in scalars(report()):
        read = [(event.step, event.value) for event in events.Scalars(name)]
        assert read == [(step, pytest.approx(scalars(report(step))[name])) for step in STEPS]


@pytest.mark.parametrize("package", ["wandb", "tensorboard", "trackio"])
def test_a_missing_package_is_a_sentence_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(TrackerError, match=rf"needs the package {package}.*not installed.*-m pip install '{package}"):
        make_tracker(package, logs=tmp_path, run_name="x", config={})


def test_a_tracker_that_nobody_knows_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrackerError, match="must be none, wandb, tensorboard or trackio, not 'mlflow'"):
        make_tracker("mlflow", logs=tmp_path, run_name="x", config={})

"""A checkpoint is complete or not there at all."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from rgym_exp.training.checkpoint import Checkpoint, CheckpointStore, SwarmRecord


def record(step: int, **changes: object) -> SwarmRecord:
    chosen: dict = {
        "step": step, "round": step + 100, "swarm_id": "s", "peer_id": "p", "model_name": "m", "lora": False,
    }  # fmt: skip
    return SwarmRecord(**{**chosen, **changes})


def write(store: CheckpointStore, step: int, **changes: object) -> Checkpoint:
    folder = store.staging() / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "model.safetensors").write_text(f"weights of step {step}")
    return store.commit(folder, record(step, **changes))


def test_the_newest_checkpoint_comes_back_with_its_record_and_files(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in (3, 7):
        write(store, step)
    latest = store.latest()
    assert latest is not None and latest.record == record(7)
    assert (latest.folder / "model.safetensors").read_text() == "weights of step 7"


def test_only_the_newest_few_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in (1, 2, 3, 10):
        write(store, step)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["step-00000003", "step-00000010"]


def test_a_node_killed_while_it_writes_resumes_from_the_checkpoint_before(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    write(store, 5)
    half = store.staging() / "checkpoint-6"
    half.mkdir()
    (half / "model.safetensors").write_text("half")
    restarted = CheckpointStore(tmp_path, keep=2)
    latest = restarted.latest()
    assert latest is not None and latest.record.step == 5
    write(restarted, 6)
    latest = restarted.latest()
    assert latest is not None and (latest.folder / "model.safetensors").read_text() == "weights of step 6"


def test_a_folder_without_a_readable_record_is_named_and_left_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    write(store, 5)
    broken = tmp_path / "step-00000009"
    broken.mkdir()
    (broken / "swarm.json").write_text('{"step": 9}')
    with caplog.at_level(logging.WARNING, logger="rl_swarm.training"):
        latest = store.latest()
    assert latest is not None and latest.record.step == 5
    assert "step-00000009" in caplog.text


def test_all_of_it_is_on_the_disk_before_it_has_its_name_and_the_name_before_older_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    write(store, 5)
    done: list[tuple[str, str]] = []
    fsync, rename, rmtree = os.fsync, os.rename, shutil.rmtree

    def note(what: str, path: object) -> None:
        done.append((what, Path(str(path)).name))

    monkeypatch.setattr(os, "fsync", lambda file: (note("sync", os.readlink(f"/proc/self/fd/{file}")), fsync(file))[1])
    monkeypatch.setattr(os, "rename", lambda source, target: (note("rename", target), rename(source, target))[1])
    monkeypatch.setattr(shutil, "rmtree", lambda path, **_: (note("remove", path), rmtree(path, ignore_errors=True))[1])
    newest = write(store, 6).folder

    named = done.index(("rename", newest.name))
    files = {file.name for file in newest.iterdir()}
    assert files > {"swarm.json"}
    assert {("sync", name) for name in (*files, "checkpoint-6")} <= set(done[:named])
    assert done.index(("sync", tmp_path.name), named) < done.index(("remove", "step-00000005"))


def test_writing_the_same_step_again_replaces_it(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    write(store, 5)
    write(store, 5, round=900)
    latest = store.latest()
    assert latest is not None and latest.record.round == 900
    assert len(list(tmp_path.iterdir())) == 1


def test_another_models_checkpoint_is_not_resumed_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    write(store, 5)
    with caplog.at_level(logging.WARNING, logger="rl_swarm.training"):
        assert store.latest_for(model_name="other", lora=False) is None
        assert store.latest_for(model_name="m", lora=True) is None
    assert "starting from the base model" in caplog.text
    resumed = store.latest_for(model_name="m", lora=False)
    assert resumed is not None and resumed.record.step == 5


def test_without_a_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "never", keep=2).latest() is None

"""A checkpoint is complete or not there at all."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import pytest

from rgym_exp.training.checkpoint import CheckpointStore, SwarmRecord
from rgym_exp.types import interim_round


def record(step: int, **changes: object) -> SwarmRecord:
    chosen: dict = {
        "step": step, "round": step + 100, "swarm_id": "s", "peer_id": "p", "model_name": "m", "lora": False,
    }  # fmt: skip
    return SwarmRecord(**{**chosen, **changes})


def write(store: CheckpointStore, step: int, **changes: object) -> None:
    folder = store.staging() / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "model.safetensors").write_text(f"weights of step {step}")
    store.commit(folder, record(step, **changes))


def test_the_newest_checkpoint_comes_back_with_its_record_and_files(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in (3, 7):
        write(store, step)
    latest = store.latest()
    assert latest is not None and latest.record == record(7)
    assert (latest.folder / "model.safetensors").read_text() == "weights of step 7"


def test_a_checkpoint_of_the_version_before_which_counted_no_interim_rounds_is_resumed_from(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    write(store, 3, interim=interim_round(12, 5))
    written = store.latest()
    assert written is not None and written.record.interim == interim_round(12, 5)
    file = written.folder / "swarm.json"
    content = json.loads(file.read_text())
    del content["interim"]
    file.write_text(json.dumps(content))
    before = store.latest()
    assert before is not None and before.record == record(3)


def test_a_checkpoint_can_be_read_by_the_version_before_and_one_of_a_later_version_here(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    write(store, 3)
    written = store.latest()
    assert written is not None
    file = written.folder / "swarm.json"
    content = json.loads(file.read_text())
    assert content.keys() == {"step", "round", "swarm_id", "peer_id", "model_name", "lora"}
    file.write_text(json.dumps({**content, "of_tomorrow": 7}))
    later = store.latest()
    assert later is not None and later.record == record(3)


class DiskWatched:
    """Notes what is flushed to the disk and what is renamed, in order, and lets both happen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[tuple[str, int]] = []
        """What was done, and to which inode: it stays the same when a file is renamed."""
        flush, rename = os.fsync, os.rename

        def fsync(descriptor: int) -> None:
            self.done.append(("flushed", os.fstat(descriptor).st_ino))
            flush(descriptor)

        def renamed(source: Path, target: Path) -> None:
            self.done.append(("renamed", source.stat().st_ino))
            rename(source, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "rename", renamed)


def test_all_of_a_checkpoint_is_on_the_disk_before_it_gets_its_name_and_the_name_before_any_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    write(store, 5)
    older = tmp_path / "step-00000005"
    disk = DiskWatched(monkeypatch)
    parent = ("flushed", tmp_path.stat().st_ino)
    older_stood = []

    def remove(folder: Path, **_: object) -> None:
        older_stood.append(parent in disk.done or folder != older)
        remove_folder(folder, ignore_errors=True)

    remove_folder = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", remove)
    write(store, 6)
    newest = store.latest()
    assert newest is not None and not older.exists() and all(older_stood)
    naming = disk.done.index(("renamed", newest.folder.stat().st_ino))
    before, after = set(disk.done[:naming]), disk.done[naming + 1 :]
    files = [*newest.folder.iterdir()]
    assert {file.name for file in files} == {"model.safetensors", "swarm.json"}
    # The folder too: its list of files is what a power cut would otherwise forget.
    assert before >= {("flushed", path.stat().st_ino) for path in (*files, newest.folder)}
    assert after == [parent]


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

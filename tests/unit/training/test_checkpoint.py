"""A checkpoint is complete or not there at all."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from rgym_exp.training.checkpoint import CheckpointStore, SwarmRecord, TrainedModel


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
    (older,) = tmp_path.iterdir()
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
    assert [folder.name[:14] for folder in sorted(tmp_path.iterdir())] == ["step-00000003-", "step-00000010-"]


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


def test_a_folder_without_a_readable_record_is_set_aside_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    write(store, 5)
    broken = tmp_path / "step-00000009"
    broken.mkdir()
    (broken / "swarm.json").write_text('{"step": 9}')
    with caplog.at_level(logging.WARNING, logger="rl_swarm.training"):
        resumed = store.resume(THIS, nothing)
        assert store.resume(THIS, nothing) == resumed
    assert resumed is not None and resumed.record.step == 5
    assert caplog.text.count("step-00000009 can't be used") == 1
    assert not broken.exists()


def test_writing_the_same_step_again_replaces_it(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    write(store, 5)
    write(store, 5, round=900)
    latest = store.latest()
    assert latest is not None and latest.record.round == 900
    assert len(list(tmp_path.iterdir())) == 1


def nothing(folder: Path) -> str | None:
    return None


THIS = TrainedModel(model_name="m", lora_rank=None)


@pytest.mark.parametrize(
    "other", [{"model_name": "other"}, {"lora": True, "lora_rank": 16}], ids=["another model", "with adapters"]
)
def test_checkpoints_of_another_model_are_kept_and_those_of_this_one_too(tmp_path: Path, other: dict) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in (90, 100):
        write(store, step)
    for step in (30, 40, 50, 100):
        write(store, step, **other)
    chosen = record(1, **other).model
    resumed = store.resume(chosen, nothing)
    assert resumed is not None and resumed.record == record(100, **other)
    resumed = store.resume(THIS, nothing)
    assert resumed is not None and resumed.record == record(100)
    left = sorted((folder.name[:13], chosen.label in folder.name) for folder in tmp_path.iterdir())
    assert left == [
        ("step-00000050", True),
        ("step-00000090", False),
        ("step-00000100", False),
        ("step-00000100", True),
    ]


def test_adapters_of_another_rank_are_another_model(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    write(store, 9, lora=True, lora_rank=16)
    write(store, 5, lora=True, lora_rank=8)
    resumed = store.resume(TrainedModel(model_name="m", lora_rank=16), nothing)
    assert resumed is not None and resumed.record.step == 9


def test_adapters_of_the_version_before_are_known_by_their_own_file(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    write(store, 9, lora=True)
    (folder,) = tmp_path.iterdir()
    (folder / "adapter_config.json").write_text('{"r": 4}')
    folder.rename(tmp_path / "step-00000009")
    assert store.resume(TrainedModel(model_name="m", lora_rank=16), nothing) is None
    resumed = store.resume(TrainedModel(model_name="m", lora_rank=4), nothing)
    assert resumed is not None and resumed.folder == tmp_path / "step-00000009"


def test_what_is_said_of_another_models_checkpoint_is_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    write(store, 5)
    with caplog.at_level(logging.INFO, logger="rl_swarm.training"):
        assert store.resume(TrainedModel(model_name="other", lora_rank=None), nothing) is None
    assert "newest checkpoint is of m (step 5). It is kept" in caplog.text
    assert "other starts from the base model" in caplog.text


def test_a_checkpoint_that_cannot_be_used_is_set_aside_and_the_one_before_it_resumed_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in (5, 6):
        write(store, step)

    def cut(folder: Path) -> str | None:
        return "model.safetensors: cut short" if "00000006" in folder.name else None

    with caplog.at_level(logging.WARNING, logger="rl_swarm.training"):
        resumed = store.resume(THIS, cut)
    assert resumed is not None and resumed.record.step == 5
    assert "can't be used (model.safetensors: cut short). It is kept as step-00000006-" in caplog.text
    assert "Training goes on from the one of step 5." in caplog.text
    caplog.clear()
    # Neither named again at every start, nor counted among those to keep.
    assert store.resume(THIS, cut) == resumed
    write(store, 6)
    assert [folder.name[:13] for folder in sorted(tmp_path.iterdir())] == ["step-00000005", *2 * ["step-00000006"]]
    assert caplog.text == ""


def test_with_no_checkpoint_left_training_starts_from_the_base_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    write(store, 5)
    with caplog.at_level(logging.WARNING, logger="rl_swarm.training"):
        assert store.resume(THIS, lambda folder: "cut short") is None
    assert "goes on from the base model" in caplog.text


def test_a_record_with_fields_of_a_later_version_is_read(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    write(store, 5)
    (folder,) = tmp_path.iterdir()
    told = (folder / "swarm.json").read_text()
    (folder / "swarm.json").write_text(told.replace("{", '{"later": 1,', 1))
    latest = store.latest()
    assert latest is not None and latest.record == record(5)


def test_without_a_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "never", keep=2).latest() is None

"""A checkpoint that can't be written is a sentence, and leaves those before it as they were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import SafetensorError

from rgym_exp.training.checkpoint import CheckpointError, CheckpointStore, SwarmRecord

RECORD = SwarmRecord(step=3, round=7, swarm_id="s", peer_id="Qm", model_name="m", lora=False)


def write(folder: Path) -> Path:
    written = folder / "checkpoint-3"
    written.mkdir()
    (written / "model.safetensors").write_bytes(b"weights")
    return written


def failing(error: Exception) -> Callable[[Path], Path]:
    def fail(folder: Path) -> Path:
        write(folder)
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("PytorchStreamWriter failed writing file data/1: file write failed"),
    ],
)
def test_a_full_disk_is_told_in_a_sentence_and_keeps_the_checkpoint_before(tmp_path: Path, error: Exception) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    before = store.save(write, RECORD)
    with pytest.raises(CheckpointError, match="checkpoint of step 4 could not be written .* disk isn't full"):
        store.save(failing(error), replace(RECORD, step=4))
    assert store.latest() == before
    assert (before.folder / "model.safetensors").read_bytes() == b"weights"
    # What was written of it takes no room on the full disk.
    assert list(tmp_path.iterdir()) == [before.folder]


def test_after_a_failure_the_next_checkpoint_is_written(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    with pytest.raises(CheckpointError):
        store.save(failing(OSError(28, "No space left on device")), RECORD)
    assert store.save(write, RECORD) == store.latest()


def test_a_folder_that_is_none_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(CheckpointError, match="could not be written"):
        CheckpointStore(tmp_path / "checkpoints", keep=2).save(write, RECORD)

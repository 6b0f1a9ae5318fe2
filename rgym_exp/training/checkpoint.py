"""Checkpoints: everything needed to go on after a restart, complete or not there at all.

Hugging Face's Trainer writes weights, optimizer and random state into a folder file by file. The folder gets its name
only when all of it is on disk, together with the swarm's side of it (``swarm.json``), so a node that is killed while it
writes resumes from the checkpoint before.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from safetensors import SafetensorError

from rgym_exp.base.files import atomic_write, sync
from rgym_exp.errors import SwarmUserError

logger = logging.getLogger("rl_swarm.training")

_RECORD = "swarm.json"
_STAGING = ".writing"


class CheckpointError(SwarmUserError):
    """A checkpoint could not be written: the disk is full, or the folder is not ours. Those before it are untouched."""


@dataclass(frozen=True, kw_only=True)
class SwarmRecord:
    """The swarm's side of a checkpoint."""

    step: int
    """Optimizer steps made: rounds taken part in."""
    round: int
    """The last of the contract's rounds that was trained on; -1 when there was none, because the hub was away."""
    swarm_id: str
    peer_id: str
    model_name: str
    lora: bool
    interim: int = 0
    """The number of the last interim round that was trained on since; 0 when there was none."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    record: SwarmRecord


class CheckpointStore:
    """The checkpoints of one node: ``step-<n>`` folders, of which the newest few are kept."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def save(self, write: Callable[[Path], Path], record: SwarmRecord) -> Checkpoint:
        """Have a checkpoint written and make it the newest.

        Args:
            write: writes below the folder that it is given, and returns the folder that it wrote.

        Raises:
            CheckpointError: it could not be written; nothing is left of it, and the ones before stay.
        """
        try:
            return self.commit(write(self.staging()), record)
        # What a full disk looks like to Python, to safetensors and to torch.
        except (OSError, SafetensorError, RuntimeError) as error:
            shutil.rmtree(self._folder / _STAGING, ignore_errors=True)
            raise CheckpointError(
                f"The checkpoint of step {record.step} could not be written to {self._folder}: {error}. Check that its "
                "disk isn't full and that the folder is yours; those before it are untouched."
            ) from error

    def staging(self) -> Path:
        """An empty folder to write the next checkpoint into; ``commit`` gives it its name."""
        staging = self._folder / _STAGING
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        return staging

    def commit(self, written: Path, record: SwarmRecord) -> Checkpoint:
        """Make what was written a checkpoint, and remove the oldest beyond the number to keep.

        Args:
            written: the folder below ``staging()`` that the Trainer wrote.
        """
        atomic_write(written / _RECORD, _packed(record))
        for file in (*written.iterdir(), written):
            sync(file)
        target = self._folder / f"step-{record.step:08d}"
        # A checkpoint of the same step is of the same weights; the new one has the newer round.
        shutil.rmtree(target, ignore_errors=True)
        os.rename(written, target)
        sync(self._folder)
        shutil.rmtree(self._folder / _STAGING, ignore_errors=True)
        for old in self._complete()[: -self._keep]:
            shutil.rmtree(old.folder, ignore_errors=True)
        return Checkpoint(folder=target, record=record)

    def latest(self) -> Checkpoint | None:
        """The newest complete checkpoint; None when there is none."""
        return next(reversed(self._complete()), None)

    def latest_for(self, *, model_name: str, lora: bool) -> Checkpoint | None:
        """The newest checkpoint of this model; one of another model is named in the log and left alone."""
        newest = self.latest()
        if newest is None or (newest.record.model_name == model_name and newest.record.lora == lora):
            return newest
        logger.warning(
            "The checkpoint %s is of %s%s, not of %s; starting from the base model. Move it away to keep it: it is "
            "removed when %d newer ones exist.",
            newest.folder,
            newest.record.model_name,
            " with LoRA" if newest.record.lora else "",
            model_name,
            self._keep,
        )
        return None

    def _complete(self) -> list[Checkpoint]:
        found = []
        for folder in sorted(self._folder.glob("step-*")):
            try:
                record = _unpacked((folder / _RECORD).read_text())
            except (OSError, ValueError, TypeError, AttributeError) as error:
                logger.warning("Leaving aside %s: it is not a complete checkpoint (%s).", folder, error)
                continue
            found.append(Checkpoint(folder=folder, record=record))
        return sorted(found, key=lambda checkpoint: checkpoint.record.step)


def _packed(record: SwarmRecord) -> bytes:
    told = asdict(record)
    # Version 0.1.0 takes a record with another key for no checkpoint.
    if not record.interim:
        del told["interim"]
    return json.dumps(told, indent=2).encode()


def _unpacked(text: str) -> SwarmRecord:
    """Keys of later versions are left alone. Raises ValueError, TypeError or AttributeError for what is no record."""
    known = {field.name for field in fields(SwarmRecord)}
    return SwarmRecord(**{name: value for name, value in json.loads(text).items() if name in known})

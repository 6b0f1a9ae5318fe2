"""Checkpoints: everything needed to go on after a restart, complete or not there at all.

Hugging Face's Trainer writes weights, optimizer and random state into a folder file by file. The folder gets its name
only when all of it is on disk, together with the swarm's side of it (``swarm.json``), so a node that is killed while it
writes resumes from the checkpoint before. Each model with its adapter settings has checkpoints of its own: they are
counted, ordered, removed and resumed from as if the others weren't there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path

from safetensors import SafetensorError

from rgym_exp.base.files import atomic_write, set_aside, sync
from rgym_exp.errors import SwarmUserError

logger = logging.getLogger("rl_swarm.training")

_RECORD = "swarm.json"
_ADAPTER = "adapter_config.json"
_STAGING = ".writing"
_SET_ASIDE = ".damaged-"


class CheckpointError(SwarmUserError):
    """A checkpoint could not be written: the disk is full, or the folder is not ours. Those before it are untouched."""


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """What a checkpoint's weights and optimizer fit: a model and its adapter settings."""

    model_name: str
    lora_rank: int | None
    """None: the whole model is trained."""

    def __str__(self) -> str:
        return self.model_name if self.lora_rank is None else f"{self.model_name} with LoRA of rank {self.lora_rank}"

    @property
    def label(self) -> str:
        """A file name for it: readable, and its own."""
        readable = re.sub(r"[^\w.-]+", "-", Path(self.model_name).name)[:40]
        own = hashlib.sha256(str(self).encode()).hexdigest()[:6]
        return "-".join([readable, *([] if self.lora_rank is None else [f"lora{self.lora_rank}"]), own])


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
    lora_rank: int | None = None
    """Of the adapters, with ``lora``; the version before didn't write it."""
    interim: int = 0
    """The number of the last interim round that was trained on since; 0 when there was none."""

    @property
    def model(self) -> TrainedModel:
        """Whose weights these are."""
        return TrainedModel(model_name=self.model_name, lora_rank=self.lora_rank if self.lora else None)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    record: SwarmRecord


class CheckpointStore:
    """The checkpoints of one node: ``step-<n>-<model>`` folders, of which the newest few of each model are kept."""

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
            raise CheckpointError(
                f"The checkpoint of step {record.step} could not be written to {self._folder}: {error}. Check that its "
                "disk isn't full and that the folder is yours; those before it are untouched."
            ) from error
        finally:
            # Also what was written before a failure: it takes room on a full disk.
            shutil.rmtree(self._folder / _STAGING, ignore_errors=True)

    def staging(self) -> Path:
        """An empty folder to write the next checkpoint into; ``commit`` gives it its name."""
        staging = self._folder / _STAGING
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        return staging

    def commit(self, written: Path, record: SwarmRecord) -> Checkpoint:
        """Make what was written a checkpoint, and remove this model's oldest beyond the number to keep.

        Args:
            written: the folder below ``staging()`` that the Trainer wrote.
        """
        atomic_write(written / _RECORD, _packed(record))
        for file in (*written.iterdir(), written):
            sync(file)
        target = self._folder / f"step-{record.step:08d}-{record.model.label}"
        # A checkpoint of the same step is of the same weights; the new one has the newer round.
        shutil.rmtree(target, ignore_errors=True)
        os.rename(written, target)
        sync(self._folder)
        shutil.rmtree(self._folder / _STAGING, ignore_errors=True)
        for old in self._of(record.model)[: -self._keep]:
            shutil.rmtree(old.folder, ignore_errors=True)
        return Checkpoint(folder=target, record=record)

    def latest(self) -> Checkpoint | None:
        """The checkpoint that was written last, of whichever model; None when there is none."""

        def written(checkpoint: Checkpoint) -> tuple[int, int]:
            return (checkpoint.folder / _RECORD).stat().st_mtime_ns, checkpoint.record.step

        return max(self._complete(), key=written, default=None)

    def resume(self, model: TrainedModel, problem_with: Callable[[Path], str | None]) -> Checkpoint | None:
        """The newest checkpoint of this model that can be gone on from; None when there is none.

        One that can't is set aside with a warning, for it would bar every later start, and the one before it is tried.

        Args:
            problem_with: what is wrong with a checkpoint's folder, in a few words; None for nothing.
        """
        for folder in self._folders():
            reason = _record_problem(folder)
            if reason is not None:
                set_aside(folder, reason, "It is no complete checkpoint, and isn't resumed from.", log=logger)
        own = self._of(model)
        while own:
            newest = own.pop()
            reason = problem_with(newest.folder)
            if reason is None:
                return newest
            next_best = f"the one of step {own[-1].record.step}" if own else "the base model, for there is none before"
            set_aside(newest.folder, reason, f"Training goes on from {next_best}.", log=logger)
        other = self.latest()
        if other is not None and other.record.model != model:
            logger.info(
                "The newest checkpoint is of %s (step %d). It is kept, and resumed from when that model is chosen "
                "again; %s starts from the base model, with checkpoints of its own.",
                other.record.model, other.record.step, model,
            )  # fmt: skip
        return None

    def set_aside(self, checkpoint: Checkpoint, reason: str) -> None:
        """Have a checkpoint resumed from no more; it is kept under another name."""
        set_aside(checkpoint.folder, reason, "The next start goes on from the one before it, if any.", log=logger)

    def _of(self, model: TrainedModel) -> list[Checkpoint]:
        """This model's, oldest first. A folder without the model in its name is of the version before."""
        own = [checkpoint for checkpoint in self._complete() if checkpoint.record.model == model]
        return sorted(own, key=lambda checkpoint: (checkpoint.record.step, checkpoint.folder.name))

    def _complete(self) -> Iterator[Checkpoint]:
        for folder in self._folders():
            if _record_problem(folder) is None:
                yield Checkpoint(folder=folder, record=_read_record(folder))

    def _folders(self) -> list[Path]:
        return [folder for folder in sorted(self._folder.glob("step-*")) if _SET_ASIDE not in folder.name]


def _packed(record: SwarmRecord) -> bytes:
    """Without what is as ever: version 0.1.0 takes a record with a key that it doesn't know for no checkpoint."""
    ever = {field.name: field.default for field in fields(SwarmRecord) if field.default is not MISSING}
    told = {name: value for name, value in asdict(record).items() if name not in ever or value != ever[name]}
    return json.dumps(told, indent=2).encode()


def _record_problem(folder: Path) -> str | None:
    try:
        _read_record(folder)
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        return f"{_RECORD}: {error}"
    return None


def _read_record(folder: Path) -> SwarmRecord:
    """Keys of later versions are left alone. Raises OSError, ValueError, TypeError, AttributeError or KeyError."""
    told = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    known = {field.name for field in fields(SwarmRecord)}
    record = SwarmRecord(**{name: value for name, value in told.items() if name in known})
    if record.lora and record.lora_rank is None:
        rank = json.loads((folder / _ADAPTER).read_text(encoding="utf-8"))["r"]
        record = replace(record, lora_rank=int(rank))
    return record

"""The folder that is pushed: the model as it was after one round, with its card; whole or not there at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from rgym_exp.base.files import atomic_write
from rgym_exp.errors import SwarmUserError

_ADAPTER = "adapter_config.json"


class SnapshotError(SwarmUserError):
    """The model could not be written to the folder from which it is pushed."""


class SnapshotFolder:
    """Holds at most one snapshot: a new one takes the place of the old one, so the disk's use is bounded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "model"
        """Where the snapshot is."""
        self._writing = folder / ".writing"

    def write(self, save: Callable[[Path], None], *, card: str, base_model: str | None) -> Path:
        """Have the model written and put its card beside it.

        Args:
            save: writes weights, generation settings and tokenizer into the folder that it is given.
            base_model: the base model's id on the Hub, which an adapter names; None takes out the folder that it names.

        Raises:
            SnapshotError: it can't be written; nothing is left of it.
        """
        try:
            self.remove()
            self._writing.mkdir(parents=True)
            save(self._writing)
            _name_base_model(self._writing / _ADAPTER, base_model)
            atomic_write(self._writing / "README.md", card.encode(errors="replace"))
            os.rename(self._writing, self.folder)
        # What a full disk looks like to Python, to safetensors and to torch.
        except (OSError, SafetensorError, RuntimeError) as error:
            raise SnapshotError(
                f"The model could not be written to {self.folder.parent} to be pushed from there: {error}. Check that "
                "its disk isn't full and that the folder is yours."
            ) from error
        finally:
            # Also when a stop cuts it short.
            shutil.rmtree(self._writing, ignore_errors=True)
        return self.folder

    def remove(self) -> None:
        """Remove the snapshot, and what a crash may have left of one; harmless without any."""
        for folder in (self.folder, self._writing):
            shutil.rmtree(folder, ignore_errors=True)

    def size_bytes(self) -> int:
        """Of the snapshot; 0 without one."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())


def _name_base_model(config: Path, base_model: str | None) -> None:
    """peft writes where it found the base model, which may be a folder of this machine."""
    if not config.exists():
        return
    content = json.loads(config.read_text())
    content["base_model_name_or_path"] = base_model or ""
    atomic_write(config, json.dumps(content, indent=2, sort_keys=True).encode())

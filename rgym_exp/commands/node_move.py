"""Backing up a whole node and putting it back on another machine, said in sentences."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rgym_exp.base.called import as_called
from rgym_exp.base.files import write_new
from rgym_exp.commands.backup import BackupError
from rgym_exp.commands.node_backup import CHECKPOINT, open_backup, small_files, write_backup
from rgym_exp.config.paths import Home

_KEYS = ("swarm.pem", "account.key")


def back_up_node(home: Home, target: Path, passphrase: str, *, peer_id: str) -> None:
    """Write a backup with the model. Raises a BackupError when it can't be written."""
    from rgym_exp.training.checkpoint import CheckpointStore

    newest = CheckpointStore(home.checkpoints, keep=1).latest()
    try:
        write_backup(target, home, newest.folder if newest else None, passphrase)
    except FileExistsError as error:
        raise BackupError(
            f"{target} exists already, and backups are never overwritten. Choose another name."
        ) from error
    except OSError as error:
        raise BackupError(
            f"{target} can't be written: {error}. Check that its disk has space; if a node is running, try again: it "
            "removes its older checkpoints."
        ) from error
    if newest is None:
        print(f"Wrote {target}: keys and settings of peer {peer_id}. There is no checkpoint yet, so no model is in it.")
    else:
        print(
            f"Wrote {target} ({target.stat().st_size / 1e6:,.0f} MB): keys, settings and the record of rounds of peer "
            f"{peer_id}, and its newest checkpoint: {newest.record.model}, step {newest.record.step}."
        )
        others = {str(other.name).split("-", 2)[-1] for other in home.checkpoints.glob("step-*")}
        if len(others) > 1:
            print("Checkpoints of other models stay behind; choose such a model and run a round to back it up instead.")
    print("Transactions that aren't on chain yet stay behind: stop the node in good time before you move it.")


def restore_node(home: Home, source: Path, passphrase: str) -> None:
    """Put a whole node back; nothing that is there is replaced.

    Raises:
        BackupError: a different key is here, or the backup can't be used; nothing was restored then.
    """
    from rgym_exp.swarm.identity import load_identity

    opened = home.state / ".restoring"
    shutil.rmtree(opened, ignore_errors=True)
    try:
        open_backup(source, opened, passphrase)
        if not (opened / _KEYS[0]).exists():
            raise BackupError(f"The backup holds no {_KEYS[0]}. Use another copy; nothing was restored.")
        peer_id = load_identity(opened / _KEYS[0]).peer_id
        places = {opened / name: path for name, path in small_files(home).items() if (opened / name).exists()}
        for name in _KEYS:
            if (opened / name).exists():
                refuse_different(small_files(home)[name], (opened / name).read_bytes())
        print(f"Restored peer {peer_id}:")
        for file, place in places.items():
            print(f"  {_put(file, place)}")
        for checkpoint in sorted((opened / CHECKPOINT).glob("step-*")):
            print(f"  {_put_folder(checkpoint, home.checkpoints / checkpoint.name)}")
    except OSError as error:
        raise BackupError(f"The backup could not be restored: {error}. Check the disk, and try again.") from error
    finally:
        shutil.rmtree(opened, ignore_errors=True)


def refuse_different(path: Path, data: bytes) -> None:
    """Raises a BackupError when another key is at ``path``."""
    if path.exists() and path.read_bytes() != data:
        raise BackupError(
            f"{path} holds a different key, which is not overwritten: its peer or account would be lost. Back it up "
            f"with `{as_called('identity')} backup`, move it away and restore again, or restore into another folder "
            "with `--home DIR`. Nothing was restored."
        )


def _put(file: Path, place: Path) -> str:
    """Put a file where it belongs; what was done."""
    data = file.read_bytes()
    if place.exists():
        if place.read_bytes() == data:
            return f"{place} (is here already)"
        # Settings and records that are in use here are not lost for those of another machine.
        place = place.with_name(f"{place.name}.restored")
        place.unlink(missing_ok=True)
    write_new(place, data)
    return str(place)


def _put_folder(folder: Path, place: Path) -> str:
    if place.exists():
        return f"{place} (is here already)"
    place.parent.mkdir(parents=True, exist_ok=True)
    os.rename(folder, place)
    return str(place)

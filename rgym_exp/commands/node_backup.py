"""A backup of a whole node: its keys, its settings, its newest checkpoint and the record of its rounds.

Format: a line of JSON with the scrypt parameters, the salt and the stream's nonce (base64), then a tar archive sealed
in chunks (``sealed_stream.py``). The line is authenticated with every chunk.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from rgym_exp.base.called import as_called
from rgym_exp.base.files import sync
from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.commands.backup import SCRYPT, BackupError, authenticated, cipher, refuse_weak
from rgym_exp.commands.sealed_stream import PREFIX_BYTES, Opening, SealedStreamError, Sealing
from rgym_exp.config.paths import Home

FORMAT = "rl-swarm-node-1"
_LONGEST_HEADER = 1024
CHECKPOINT = "checkpoint"
_MEMBER = re.compile(rf"{CHECKPOINT}/step-[\w.-]+/[\w.-]+")
_DAMAGED = "The backup is damaged ({}). Use another copy; nothing was restored."


def small_files(home: Home) -> Mapping[str, Path]:
    """Name in the archive -> where it belongs in this home; those that aren't there are left out of a backup."""
    return {
        "swarm.pem": home.identity,
        "account.key": home.account_key,
        "rg-swarm.yaml": home.config_file,
        "rg-swarm.template.yaml": home.template_copy,
        "metrics.jsonl": home.logs / "metrics.jsonl",
    }


def write_backup(target: Path, home: Home, checkpoint: Path | None, passphrase: str) -> None:
    """Write the encrypted backup, whole or not at all, with mode 0600, and never over an existing file.

    Raises:
        BackupError: the passphrase is weak.
        FileExistsError: there is a file; it is as it was.
        OSError: it can't be written, or a file of the home can't be read.
    """
    refuse_weak(passphrase)
    if target.exists():
        raise FileExistsError(target)
    files = {name: path for name, path in small_files(home).items() if path.exists()}
    if checkpoint is not None:
        files |= {f"{CHECKPOINT}/{checkpoint.name}/{file.name}": file for file in sorted(checkpoint.iterdir())}
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # 0600 from the start
    try:
        with os.fdopen(descriptor, "wb") as file:
            _seal(file, files, passphrase)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, target)
    finally:
        os.unlink(name)
    sync(target.parent)


def is_node_backup(source: Path) -> bool:
    """Whether the file begins as one of these. Raises OSError."""
    with source.open("rb") as file:
        return _header(file.readline(_LONGEST_HEADER)) is not None


def open_backup(source: Path, folder: Path, passphrase: str) -> None:
    """Put the files of a backup into ``folder``, which is removed again when the backup can't be used.

    Raises:
        BackupError: the passphrase is wrong, or the backup damaged or none of ours.
        OSError: it can't be read, or the folder can't be written.
    """
    folder.mkdir(mode=0o700, parents=True)
    try:
        with source.open("rb") as file:
            _unseal(file, folder, passphrase)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _seal(target: BinaryIO, files: Mapping[str, Path], passphrase: str) -> None:
    prefix = os.urandom(PREFIX_BYTES)
    header = {"format": FORMAT, **SCRYPT, "salt": _text(os.urandom(16)), "nonce": _text(prefix)}
    target.write(json.dumps(header).encode() + b"\n")
    sealing = Sealing(target, cipher(header, passphrase), prefix=prefix, authenticated=authenticated(header))
    with tarfile.open(fileobj=sealing, mode="w|") as archive:
        for name, path in files.items():
            archive.add(path, name, recursive=False)
    sealing.finish()


def _unseal(source: BinaryIO, folder: Path, passphrase: str) -> None:
    header = _header(source.readline(_LONGEST_HEADER))
    if header is None:
        raise BackupError(f"This file is no backup made by `{as_called('identity')} backup`.")
    try:
        key, prefix = cipher(header, passphrase), base64.b64decode(str(header["nonce"]), validate=True)
        if len(prefix) != PREFIX_BYTES:
            raise ValueError("its header")
    except (ValueError, TypeError) as error:
        raise BackupError(_DAMAGED.format(error)) from error
    opening = Opening(source, key, prefix=prefix, authenticated=authenticated(header))
    try:
        with tarfile.open(fileobj=opening, mode="r|") as archive:
            for member in archive:
                _take(archive, member, folder)
        opening.drain()
    except SealedStreamError as error:
        raise BackupError(
            f"The passphrase doesn't open this backup, or the file was changed or cut short since it was written "
            f"({error}). Try again; nothing was restored."
        ) from error
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise BackupError(_DAMAGED.format(error)) from error


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one file; no other kinds and no other places, whoever made the backup."""
    known = member.name in small_files(Home(root=folder, identity_path=None)) or _MEMBER.fullmatch(member.name)
    content = archive.extractfile(member) if member.isreg() and known else None
    if content is None or ".." in member.name:
        raise ValueError(f"{member.name[:80]!r} is no file of a node")
    place = folder / member.name
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(content, file, 1024 * 1024)
        file.flush()
        os.fsync(file.fileno())


def _header(line: bytes) -> dict[str, object] | None:
    """The parsed first line, with the parameters that we write and no others: others' costs are not paid."""
    try:
        header = shallow_json(line)
    except ValueError:
        return None
    if not isinstance(header, dict) or {name: header.get(name) for name in SCRYPT} != SCRYPT:
        return None
    texts = all(isinstance(header.get(name), str) for name in ("salt", "nonce"))
    return header if header.get("format") == FORMAT and texts else None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()

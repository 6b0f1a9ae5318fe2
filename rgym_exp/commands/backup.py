"""One encrypted file that holds who a node is: ``swarm.pem`` and, if there is one, the account's key.

Format: a JSON object with the scrypt parameters, salt and nonce (base64), and the AES-256-GCM ciphertext of a JSON
object of file name -> bytes (base64). The header is authenticated with the ciphertext.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from rgym_exp.base.called import as_called
from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.errors import SwarmUserError

FORMAT = "rl-swarm-identity-1"
SCRYPT = {"n": 2**16, "r": 8, "p": 1}
"""64 MiB and a fraction of a second: little for its owner, much for whoever tries passphrases."""
MAX_BACKUP_BYTES = 1024 * 1024


class BackupError(SwarmUserError):
    """A backup that can't be written, opened or put back; the message says what to do."""


def seal(files: Mapping[str, bytes], passphrase: str) -> bytes:
    """The encrypted backup of these files."""
    if not passphrase:
        raise BackupError("The passphrase is empty; whoever finds the backup could open it. Choose one.")
    header: dict[str, Any] = {"format": FORMAT, **SCRYPT, "salt": _text(os.urandom(16)), "nonce": _text(os.urandom(12))}
    content = json.dumps({name: _text(data) for name, data in files.items()}).encode()
    sealed = _cipher(header, passphrase).encrypt(_bytes(header["nonce"]), content, _authenticated(header))
    return (json.dumps({**header, "sealed": _text(sealed)}, indent=2) + "\n").encode()


def unseal(backup: bytes, passphrase: str) -> dict[str, bytes]:
    """The files in a backup. Raises a BackupError for a wrong passphrase, or for what is no backup of ours."""
    header = _header(backup)
    sealed = header.pop("sealed")
    try:
        cipher = _cipher(header, passphrase)
        content = cipher.decrypt(_bytes(header["nonce"]), _bytes(sealed), _authenticated(header))
        return {str(name): _bytes(data) for name, data in json.loads(content).items()}
    except InvalidTag as error:
        raise BackupError(
            "The passphrase doesn't open this backup, or the file was changed since it was written. Try again; "
            "nothing was restored."
        ) from error
    except (ValueError, TypeError) as error:
        raise BackupError(f"The backup is damaged ({error}). Use another copy; nothing was restored.") from error


def _header(backup: bytes) -> dict[str, Any]:
    """The parsed outer object, with the parameters that we write and no others."""
    try:
        header = shallow_json(backup) if len(backup) <= MAX_BACKUP_BYTES else None
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise BackupError(f"This file is no backup made by `{as_called('identity')} backup`.")
    # Costs from a stranger's file are not paid: n = 2**40 would fill the memory.
    if {name: header.get(name) for name in SCRYPT} != SCRYPT or not all(
        isinstance(header.get(name), str) for name in ("salt", "nonce", "sealed")
    ):
        raise BackupError("The backup's header is damaged. Use another copy; nothing was restored.")
    return header


def _cipher(header: Mapping[str, Any], passphrase: str) -> AESGCM:
    """The cipher under the key that the passphrase and the header's salt give."""
    scrypt = Scrypt(salt=_bytes(header["salt"]), length=32, n=header["n"], r=header["r"], p=header["p"])
    return AESGCM(scrypt.derive(passphrase.encode()))


def _authenticated(header: Mapping[str, Any]) -> bytes:
    """The header's bytes as they enter the authentication."""
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)

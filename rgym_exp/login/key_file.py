"""The way without a browser: a key file of this node's own, made here or brought from elsewhere."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from rgym_exp.base.called import as_called
from rgym_exp.chain.account import PASSPHRASE_VARIABLE, keep_account, load_account
from rgym_exp.errors import LoginError

MAX_IMPORT_BYTES = 64 * 1024

_HEX_KEY = re.compile(r"(?:0[xX])?([0-9a-fA-F]{64})")


@dataclass(frozen=True, kw_only=True)
class KeyFile:
    """The account's key file, as it is now."""

    address: str
    is_new: bool
    """Whether it was written just now."""


def make_key_file(path: Path, passphrase: str | None) -> KeyFile:
    """A new account in ``path`` (mode 0600), or the one that is there, which stays as it is.

    Raises AccountError; LoginError when a passphrase is asked for and an unencrypted key is there.
    """
    if path.exists():
        return _existing(path, passphrase)
    account = Account.create()
    try:
        keep_account(path, account, passphrase)
    except FileExistsError:
        return _existing(path, passphrase)
    return KeyFile(address=account.address, is_new=True)


def import_key_file(path: Path, source: Path, passphrase: str | None, source_passphrase: str | None) -> KeyFile:
    """The account of ``source`` in ``path``: a plain hex key, our own JSON, or a keystore (version 3) of a wallet.

    Raises AccountError, or LoginError when ``source`` is none of these or ``path`` holds another account's key: no key
    is ever overwritten.
    """
    account = _read(source, source_passphrase)
    try:
        keep_account(path, account, passphrase)
    except FileExistsError:
        there = load_account(path, passphrase)
        if there.address != account.address:
            raise LoginError(
                f"{path} already holds the key of {there.address}, and {source} holds that of {account.address}. No "
                f"key is overwritten: move the old file to a safe place first (mv {path} {path}.old), or use another "
                "folder with --home DIR."
            ) from None
        return KeyFile(address=there.address, is_new=False)
    return KeyFile(address=account.address, is_new=True)


def is_keystore(source: Path) -> bool:
    """Whether the file is an encrypted keystore, which needs its passphrase."""
    return '"crypto"' in _text(source).lower()


def _existing(path: Path, passphrase: str | None) -> KeyFile:
    there = load_account(path, passphrase)
    if passphrase is not None and not is_keystore(path):
        raise LoginError(
            f"{path} already holds the key of {there.address}, without a passphrase, and is left as it is. To have it "
            f"encrypted: mv {path} {path}.old, then {as_called('login')} --headless --import {path}.old --passphrase."
        )
    return KeyFile(address=there.address, is_new=False)


def _read(source: Path, passphrase: str | None) -> LocalAccount:
    found = _HEX_KEY.fullmatch(_text(source).strip())
    if found is None:
        return load_account(source, passphrase)
    try:
        account: LocalAccount = Account.from_key("0x" + found[1])
    except Exception as error:  # eth_account raises several unrelated kinds for a bad key
        raise LoginError(f"{source} holds 64 hex digits, but no private key. Check the file.") from error
    return account


def _text(source: Path) -> str:
    try:
        with source.open("rb") as file:
            return file.read(MAX_IMPORT_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        raise LoginError(f"The key {source} can't be read: {error}. Name a file with a private key.") from error


def passphrase_from(variable: str = PASSPHRASE_VARIABLE) -> str | None:
    """The passphrase of the environment; None without one."""
    return os.environ.get(variable) or None

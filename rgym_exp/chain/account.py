"""The account: a private key in a file that only its user can read.

Two forms are read: ``{"address": ..., "private_key": ...}``, and the encrypted keystore that other wallets write
(Web3 Secret Storage, version 3). The second is written when a passphrase is given.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from rgym_exp.base.files import write_new
from rgym_exp.chain.coordinator import ChainError

logger = logging.getLogger("rl_swarm.chain")

PASSPHRASE_VARIABLE = "RL_SWARM_ACCOUNT_PASSPHRASE"


class AccountError(ChainError):
    """The key file can't be made, read or opened."""


def load_or_create_account(path: Path, passphrase: str | None = None) -> LocalAccount:
    """The account kept in ``path``, made on first use (mode 0600). An existing file is never overwritten.

    Raises AccountError.
    """
    if not path.exists():
        try:
            keep_account(path, Account.create(), passphrase)
        except FileExistsError:
            logger.info("Another process made %s at the same moment; using that one.", path)
    return load_account(path, passphrase)


def keep_account(path: Path, account: LocalAccount, passphrase: str | None = None) -> None:
    """Write the account's key file (mode 0600), encrypted when there is a passphrase; never over an existing file.

    Raises FileExistsError, or AccountError when it can't be written.
    """
    try:
        write_new(path, _encode(account, passphrase))
    except FileExistsError:
        raise
    except OSError as error:
        raise AccountError(f"The account's key file {path} can't be written: {error}.") from error


def load_account(path: Path, passphrase: str | None = None) -> LocalAccount:
    """The account kept in ``path``. ``passphrase`` defaults to $RL_SWARM_ACCOUNT_PASSPHRASE. Raises AccountError."""
    try:
        text = path.read_text(encoding="utf-8")
        _keep_private(path)
    except (OSError, UnicodeDecodeError) as error:
        raise AccountError(f"The account's key file {path} can't be read: {error}.") from error
    try:
        content = json.loads(text)
    except ValueError as error:
        raise AccountError(
            f"{path} isn't a key file: it isn't JSON. Put the right one there, or move it away for a new account."
        ) from error
    if isinstance(content, dict) and "crypto" in {key.lower() for key in content}:
        return _decrypt(path, content, passphrase or os.environ.get(PASSPHRASE_VARIABLE))
    return _from_plain(path, content)


def _from_plain(path: Path, content: object) -> LocalAccount:
    try:
        if not isinstance(content, dict):
            raise TypeError("not an object")
        account: LocalAccount = Account.from_key(content["private_key"])
    except Exception as error:  # eth_account raises several unrelated kinds for a bad key
        raise AccountError(
            f'{path} holds no usable private key (a JSON object with a 0x-hex "private_key" is expected). '
            "Restore it from your backup, or move it away for a new account."
        ) from error
    stated = str(content.get("address", account.address))
    if stated.lower() != account.address.lower():
        raise AccountError(
            f"{path} says that it holds the key of {stated}, but its key belongs to {account.address}. "
            "Somebody edited it: restore it from your backup."
        )
    return account


def _decrypt(path: Path, content: Mapping[str, Any], passphrase: str | None) -> LocalAccount:
    if passphrase is None:
        raise AccountError(
            f"{path} is encrypted. Put its passphrase into the environment variable {PASSPHRASE_VARIABLE}."
        )
    try:
        account: LocalAccount = Account.from_key(Account.decrypt(dict(content), passphrase))
    except (ValueError, TypeError, KeyError) as error:
        raise AccountError(
            f"{path} can't be opened: the passphrase is wrong or the file is damaged. Check {PASSPHRASE_VARIABLE}."
        ) from error
    return account


def _encode(account: LocalAccount, passphrase: str | None) -> bytes:
    if passphrase is not None:
        content: Mapping[str, Any] = Account.encrypt(account.key, passphrase)
    else:
        content = {"address": account.address, "private_key": "0x" + bytes(account.key).hex()}
    return (json.dumps(content, indent=1) + "\n").encode()


def _keep_private(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        logger.warning("%s could be read by other users of this machine (mode %o); set to 600.", path, mode)
        path.chmod(0o600)

"""``rl-swarm identity``: show, back up and restore who this node is."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rgym_exp.base.called import as_called
from rgym_exp.commands.backup import BackupError
from rgym_exp.config.paths import Home

EPILOG = """examples:
  rl-swarm identity show
  rl-swarm identity backup my-node.backup      asks for a passphrase (or takes $RL_SWARM_PASSPHRASE)
  rl-swarm identity restore my-node.backup     on a new machine, before its first run

Rewards and votes belong to the peer id in swarm.pem, and nobody can make a lost one again: keep a backup."""

IDENTITY, ACCOUNT = "swarm.pem", "account.key"
"""Names of the files within a backup."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of ``rl-swarm identity``."""
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="path, peer id, name and account")
    backup = actions.add_parser("backup", help="write one encrypted file with swarm.pem and the account's key")
    backup.add_argument("file", type=Path, metavar="FILE", help="where to write; must not exist")
    restore = actions.add_parser("restore", help="put the keys of a backup back; never replaces a different key")
    restore.add_argument("file", type=Path, metavar="FILE", help="the backup")
    for action in (show, backup, restore):
        # Where people type it; without a default of its own it leaves one given before ACTION alone.
        action.add_argument("--home", metavar="DIR", default=argparse.SUPPRESS, help="as above")


def execute(args: argparse.Namespace) -> int:
    """Show, back up or restore."""
    home: Home = args.home
    if args.action == "show":
        show(home)
    elif args.action == "backup":
        back_up(home, args.file.expanduser(), _new_passphrase())
    else:
        restore(home, args.file.expanduser(), _passphrase("Passphrase of the backup: "))
    return 0


def show(home: Home) -> None:
    """Print who this node is. Raises an IdentityError when there is no readable identity."""
    from rgym_exp.swarm.identity import load_identity
    from rgym_exp.swarm.names import animal_name

    _require_identity(home)
    peer_id = load_identity(home.identity).peer_id
    print(f"file     {home.identity}")
    print(f"peer id  {peer_id}")
    print(f"name     {animal_name(peer_id)}")
    print(f"account  {account_of(home) or 'none yet (made on the first run with the wallet coordinator)'}")


def account_of(home: Home) -> str:
    """The address in the account's key file; "" without one. Asks for no passphrase, so nothing is decrypted."""
    import json

    from eth_utils.address import to_checksum_address

    try:
        # Encrypted key files write it in small letters, the outbox in mixed ones.
        return str(to_checksum_address(json.loads(home.account_key.read_text(encoding="utf-8"))["address"]))
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def back_up(home: Home, target: Path, passphrase: str) -> None:
    """Write the encrypted backup with mode 0600; never over an existing file."""
    from rgym_exp.base.files import write_new
    from rgym_exp.commands.backup import seal
    from rgym_exp.swarm.identity import load_identity

    _require_identity(home)
    identity = load_identity(home.identity)
    files = {IDENTITY: home.identity.read_bytes()}
    if home.account_key.exists():
        files[ACCOUNT] = home.account_key.read_bytes()
    sealed = seal(files, passphrase)
    try:
        write_new(target, sealed)
    except FileExistsError as error:
        raise BackupError(
            f"{target} exists already, and backups are never overwritten. Choose another name."
        ) from error
    except OSError as error:
        raise BackupError(f"{target} can't be written: {error.strerror}. Choose another place.") from error
    print(f"Wrote {target}: {' and '.join(files)} of peer {identity.peer_id}.")
    print("Keep it, and the passphrase, somewhere else than on this machine.")


def restore(home: Home, source: Path, passphrase: str) -> None:
    """Put the files of a backup back. Raises a BackupError, with nothing changed, when a different key is there."""
    from rgym_exp.base.files import write_new
    from rgym_exp.commands.backup import MAX_BACKUP_BYTES, unseal

    try:
        with source.open("rb") as file:
            backup = file.read(MAX_BACKUP_BYTES + 1)
    except OSError as error:
        raise BackupError(f"{source} can't be read: {error.strerror}.") from error
    files = unseal(backup, passphrase)
    peer_id = _checked_peer_id(files)
    targets = {IDENTITY: home.identity, ACCOUNT: home.account_key}
    missing = {
        targets[name]: data for name, data in files.items() if name in targets and not _is_there(targets[name], data)
    }
    for path, data in missing.items():
        write_new(path, data)
    restored = ", ".join(str(path) for path in missing) or "nothing to do, the same keys are here already"
    print(f"Restored peer {peer_id}: {restored}.")


def _is_there(path: Path, data: bytes) -> bool:
    """Whether the same key is there; raises a BackupError when a different one is."""
    if not path.exists():
        return False
    if path.read_bytes() != data:
        raise BackupError(
            f"{path} holds a different key, which is not overwritten: its peer or account would be lost. Back it up "
            f"with `{as_called('identity')} backup`, move it away and restore again, or restore into another "
            "folder with "
            f"`--home DIR`. Nothing was restored."
        )
    return True


def _checked_peer_id(files: Mapping[str, bytes]) -> str:
    """Peer id of the identity in a backup, which must be one that a node can start with."""
    from rgym_exp.swarm.identity import load_identity

    if IDENTITY not in files:
        raise BackupError(f"The backup holds no {IDENTITY}. Use another copy; nothing was restored.")
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / IDENTITY
        candidate.touch(mode=0o600)
        candidate.write_bytes(files[IDENTITY])
        return load_identity(candidate).peer_id


def _require_identity(home: Home) -> None:
    if not home.identity.exists():
        raise BackupError(
            f"There is no identity at {home.identity} yet. It is made on the first `{as_called('run')}`; with "
            "`--home DIR` "
            f"you look in another folder, and `{as_called('identity')} restore FILE` puts a backup back."
        )


def _new_passphrase() -> str:
    """A passphrase for a new backup, asked for twice."""
    if "RL_SWARM_PASSPHRASE" in os.environ:
        return os.environ["RL_SWARM_PASSPHRASE"]
    first = _passphrase("Passphrase for the backup: ")
    if _passphrase("Once more: ") != first:
        raise BackupError("The two passphrases differ. Nothing was written; try again.")
    return first


def _passphrase(prompt: str) -> str:
    """A passphrase from the environment or the terminal, never from the command line, which others can see."""
    if "RL_SWARM_PASSPHRASE" in os.environ:
        return os.environ["RL_SWARM_PASSPHRASE"]
    if not sys.stdin.isatty():
        raise BackupError("There is no terminal to ask for the passphrase; put it into RL_SWARM_PASSPHRASE.")
    return getpass.getpass(prompt)

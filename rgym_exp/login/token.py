"""The login server's token: what only this machine's user can read, and so what proves that a caller is theirs."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from rgym_exp.base.files import write_new
from rgym_exp.errors import LoginError

TOKEN_BYTES = 32


def ensure_token(data_dir: Path) -> str:
    """The token in ``data_dir``, made (mode 0600) when there is none; an existing one stays as it is.

    Raises LoginError when it can't be written or read, or isn't one line of text.
    """
    path = data_dir / "token"
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Another node may make it at the same moment; both then read the one that is there.
        with suppress(FileExistsError):
            if not path.exists():
                write_new(path, f"{secrets.token_urlsafe(TOKEN_BYTES)}\n".encode())
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise LoginError(
            f"The login server's token {path} can't be made or read ({error}). Mend the folder's permissions, or name "
            "another one with LOGIN_DATA_DIR."
        ) from error
    if not token or not token.isprintable() or " " in token:
        raise LoginError(f"The login server's token {path} is damaged. Remove it: a new one is made.")
    return token

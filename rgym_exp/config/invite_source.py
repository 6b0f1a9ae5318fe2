"""Getting the text of an invite out of a file or off a web address."""

from __future__ import annotations

import codecs
import urllib.parse
from pathlib import Path

import requests

from rgym_exp.base.called import as_called
from rgym_exp.base.http_client import fetch, reason_of
from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.errors import InviteError

MAX_BYTES = 64 * 1024
TIMEOUT_SECONDS = 10.0


def fetch_invite(source: str) -> str:
    """Return the text in the file ``source`` or at the address ``source``.

    Raises:
        InviteError: it is neither, can't be read, or is far too large.
    """
    if source.startswith(("http://", "https://")):
        return _from_url(source)
    file = Path(source).expanduser()
    try:
        with file.open("rb") as opened:
            return _text(opened.read(MAX_BYTES + 1), source)
    except (OSError, ValueError):
        short = source if len(source) <= 60 else source[:57] + "..."
        raise InviteError(
            f"{short!r} is neither an invite (a line that starts with rlswarm1:), nor a file that can be read, nor an"
            f" address that starts with http. Ask the host for the whole line that `{as_called('invite')}` prints."
        ) from None


def _from_url(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    # People pass on the hub's address; its invite is one step further.
    address = urllib.parse.urlunsplit(parts._replace(path="/invite")) if parts.path in ("", "/") else url
    try:
        answer = fetch(address, max_bytes=MAX_BYTES, timeout_seconds=TIMEOUT_SECONDS, redirects=True)
    except requests.exceptions.RequestException as error:
        reason = reason_of(error)
        raise InviteError(f"{address} gave no invite ({reason}). Is the hub up, and the address right?") from None
    except ValueError:
        raise _too_large(address) from None
    if answer.status >= 400:
        raise InviteError(f"{address} answered {answer.status} instead of an invite. Check the address.")
    text = _text(answer.body, address)
    return _inside_json(text)


def _inside_json(text: str) -> str:
    if not text.lstrip().startswith("{"):
        return text
    try:
        content = shallow_json(text.encode())
    except ValueError:
        return text
    invite = content.get("invite") if isinstance(content, dict) else None
    return invite if isinstance(invite, str) else text


def _text(content: bytes, source: str) -> str:
    if len(content) > MAX_BYTES:
        raise _too_large(source)
    # Some editors of Windows begin a file with a byte order mark, or write UTF-16.
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="replace")


def _too_large(source: str) -> InviteError:
    return InviteError(f"{source} is too large to be an invite (over {MAX_BYTES} bytes).")

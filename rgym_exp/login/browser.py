"""Opening the login page in the browser of whoever sits at this machine."""

from __future__ import annotations

import html
import logging
import os
import sys
import threading
import webbrowser
from collections.abc import Mapping
from pathlib import Path

from rgym_exp.base.files import atomic_write

logger = logging.getLogger("rl_swarm.login")


def has_browser(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a browser opened here would be seen: a display, and nobody who came by ssh."""
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return False
    return sys.platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_page(address: str, data_dir: Path) -> None:
    """Open the address, in the background: some browsers keep the caller waiting until they are closed.

    Through a private file, as a browser's command line, and the token on it, can be read by every user of a machine.
    """
    file = data_dir / "open.html"
    target = html.escape(address, quote=True)
    page = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={target}">\n'
    atomic_write(file, page.encode(), mode=0o600)
    threading.Thread(target=_open, args=(file.as_uri(),), name="browser", daemon=True).start()


def _open(address: str) -> None:
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        logger.debug("No browser is installed here; the address is on the terminal.")
        return
    # A text browser would take the terminal from us.
    if type(browser) is not webbrowser.GenericBrowser:
        browser.open(address)

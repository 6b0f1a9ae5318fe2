"""Where log records go: everything into a file that rotates, our own also to the terminal when no view owns it."""

from __future__ import annotations

import logging
import logging.handlers
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

OURS = "rl_swarm"
"""Our loggers are ``rl_swarm.<package>``."""
MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 5
HIDDEN = "(hidden)"

_FILE, _CONSOLE = "rl_swarm.file", "rl_swarm.console"


class _WithoutSecrets(logging.Formatter):
    """Formats a record and then takes out secrets, wherever in message, arguments or traceback they stood."""

    def __init__(self, form: str, secrets: Sequence[str], *, datefmt: str | None = None) -> None:
        super().__init__(form, datefmt)
        self._secrets = [secret for secret in secrets if secret]

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


class _ForPeople(_WithoutSecrets):
    """The terminal's form: the time and the sentence; a level only when something is wrong; no tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        kept = record.exc_info, record.exc_text, record.stack_info
        record.exc_info = record.exc_text = record.stack_info = None
        try:
            text = super().format(record)
        finally:
            record.exc_info, record.exc_text, record.stack_info = kept
        if record.levelno >= logging.WARNING:
            clock, _, message = text.partition(" ")
            return f"{clock} {record.levelname.lower()}: {message}"
        return text


def setup_logging(log_file: Path, level: str, *, console: bool, secrets: Sequence[str] = ()) -> None:
    """Send all logging to ``log_file`` (10 MiB, five older ones kept); calling it again replaces what it set up before.

    Args:
        level: for our own records, in the file and on the terminal. Others are kept from INFO up.
        console: whether our own records also go to the terminal (stderr). Other libraries' never do.
        secrets: texts that are replaced wherever they would appear.

    Warnings and exceptions that end a thread are logged as well.

    Raises:
        OSError: the log folder can't be written.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    file = logging.handlers.RotatingFileHandler(log_file, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8")
    file.set_name(_FILE)
    file.setFormatter(_WithoutSecrets("%(asctime)s %(levelname)-7s %(name)s: %(message)s", secrets))
    root, ours = logging.getLogger(), logging.getLogger(OURS)
    _replace(root, file)
    root.setLevel(logging.INFO)
    ours.setLevel(level.upper())
    terminal: logging.Handler = logging.NullHandler()
    if console:
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setFormatter(_ForPeople("%(asctime)s %(message)s", secrets, datefmt="%H:%M:%S"))
    terminal.set_name(_CONSOLE)
    _replace(ours, terminal)
    logging.captureWarnings(True)
    # What libraries will change one day is for us to heed, and nothing that a user can do anything about.
    warnings.filterwarnings("ignore", category=FutureWarning)
    threading.excepthook = _log_thread_death
    route_third_party_logs()


def route_third_party_logs() -> None:
    """Take libraries' own terminal handlers away, so that their records reach the file and nothing else.

    hivemind and transformers install theirs when they are imported: call this again after importing such a library.
    """
    terminals = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if not isinstance(logger, logging.Logger) or name.split(".")[0] == OURS:
            continue
        for handler in list(logger.handlers):
            if isinstance(handler, logging.StreamHandler) and any(handler.stream is stream for stream in terminals):
                logger.removeHandler(handler)
                logger.propagate = True


def _replace(logger: logging.Logger, handler: logging.Handler) -> None:
    for old in list(logger.handlers):
        if old.get_name() == handler.get_name():
            logger.removeHandler(old)
            old.close()
    logger.addHandler(handler)


def _log_thread_death(death: threading.ExceptHookArgs) -> None:
    if death.exc_value is None or death.exc_type is SystemExit:
        return
    name = death.thread.name if death.thread else "a thread"
    logging.getLogger(f"{OURS}.threads").error(
        "%s ended with an exception: %s", name, death.exc_value, exc_info=death.exc_value
    )

"""The signals that ask a program to finish, and a terminal that is gone."""

from __future__ import annotations

import os
import signal
import stat
from contextlib import suppress


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGINT, SIGTERM, and SIGHUP, which comes when the terminal is closed or an ssh connection is lost.

    Not SIGHUP where it is ignored: so does ``nohup`` start a program that is to outlive its terminal.
    """
    asked = (signal.SIGINT, signal.SIGTERM)
    return asked if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (*asked, signal.SIGHUP)


def let_go_of_the_terminal() -> None:
    """After SIGHUP: have what is said go nowhere, for writing to a closed terminal is an error, and would cut short
    whatever is still to be finished. Files and pipes stay as they are."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        with suppress(OSError):  # It may be closed altogether.
            # No isatty: of a terminal that is gone it says that it is none.
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nowhere, descriptor)
    os.close(nowhere)

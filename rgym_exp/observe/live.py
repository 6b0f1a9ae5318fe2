"""The full-screen view of a run on a terminal."""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from rgym_exp.observe.frame import frame
from rgym_exp.observe.logs import OURS, route_third_party_logs
from rgym_exp.observe.progress import RunInfo, TransactionRow
from rgym_exp.observe.view_state import ViewState
from rgym_exp.types import RoundReport

FRAMES_PER_SECOND = 4


class LiveView:
    """Shows the round, the reward curve, peers and transactions, and renews itself while the node works.

    It owns the terminal from ``started`` to ``close``: what anything else prints goes to the log. When it closes, the
    last frame stays on the normal screen.
    """

    def __init__(
        self,
        *,
        name_of: Callable[[str], str] = str,
        history: Sequence[RoundReport] = (),
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the view; nothing is drawn before ``started``.

        Args:
            name_of: a peer id's animal name.
            history: rounds of earlier runs of this node, so that a resumed run continues its curve.
        """
        # The stream itself, since sys.stdout is redirected while the view owns the terminal.
        self._console = console or Console(file=sys.stdout)
        self._name_of = name_of
        self._clock = clock
        self._lock = threading.Lock()
        self._state = ViewState(started_at=clock(), phase_since=clock())
        self._state.reports = list(history)
        self._state.rounds_before = len(history)
        for report in history:
            self._state.peer_rounds.update(report.external_peers)
        self._live: Live | None = None
        self._restore = contextlib.ExitStack()

    def started(self, run: RunInfo) -> None:
        with self._lock:
            self._state.run = run
        if self._live is not None:
            return
        route_third_party_logs()
        self._watch_warnings()
        self._restore.enter_context(contextlib.redirect_stdout(_LogStream("stdout")))
        self._restore.enter_context(contextlib.redirect_stderr(_LogStream("stderr")))
        self._live = Live(
            self,
            console=self._console,
            screen=True,
            refresh_per_second=FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        # A crash between here and close must not leave the terminal on the alternate screen.
        atexit.register(self.close)

    def phase(self, name: str, detail: str = "", *, round: int | None = None) -> None:
        with self._lock:
            self._state.enter(name, detail, round, self._clock())

    def round_done(self, report: RoundReport) -> None:
        with self._lock:
            self._state.add(report)

    def transactions(self, rows: Sequence[TransactionRow]) -> None:
        with self._lock:
            self._state.transactions = tuple(rows)

    def held_out(self, value: float) -> None:
        with self._lock:
            self._state.first_held_out = value

    def page_at(self, address: str) -> None:
        """Say where the node's web page is. May be called from any thread."""
        with self._lock:
            self._state.page = address

    def finishing(self) -> None:
        """Say that the node is about to stop: Ctrl-C was pressed, and pressing it again ends at once."""
        with self._lock:
            self._state.closing = True

    def close(self) -> None:
        if self._live is None:
            return
        live, self._live = self._live, None
        live.stop()
        self._restore.close()
        with self._lock:
            self._state.closed = True
        atexit.unregister(self.close)
        self._console.print(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw one frame; rich's own thread calls this several times a second."""
        width, height = options.size
        with self._lock:
            lines = frame(self._state, width=width, height=height, now=self._clock(), name_of=self._name_of)
        yield Text("\n").join(lines)

    def _watch_warnings(self) -> None:
        watcher = _Notices(self._notice)
        ours = logging.getLogger(OURS)
        ours.addHandler(watcher)
        self._restore.callback(ours.removeHandler, watcher)

    def _notice(self, message: str) -> None:
        with self._lock:
            self._state.notice, self._state.notice_at = message, self._clock()


class _Notices(logging.Handler):
    """Hands the first line of every warning to the view: with the log in a file nobody would see it."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._show(record.getMessage().partition("\n")[0])
        except Exception:  # A handler must never raise into the code that logs.
            self.handleError(record)


class _LogStream(io.TextIOBase):
    """Stands in for stdout or stderr and turns whole lines into log records."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"{OURS}.{name}")
        self._rest = ""
        self._writing = threading.local()

    def write(self, text: str) -> int:
        if getattr(self._writing, "now", False):
            return len(text)  # Logging failed and complains to stderr, which is us.
        self._writing.now = True
        try:
            # Progress bars end their lines with a carriage return.
            *lines, self._rest = (self._rest + text).replace("\r", "\n").split("\n")
            for line in lines:
                if line.strip():
                    self._logger.info("%s", line.rstrip())
        finally:
            self._writing.now = False
        return len(text)

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

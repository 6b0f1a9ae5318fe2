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

from rgym_exp.errors import SwarmUserError
from rgym_exp.observe.frame import frame
from rgym_exp.observe.logs import OURS
from rgym_exp.observe.notices import NoticeHandler, notice_of
from rgym_exp.observe.progress import LineProgress, LiveSources, RunInfo, TransactionRow
from rgym_exp.observe.view_state import ViewState
from rgym_exp.types import RoundReport

logger = logging.getLogger("rl_swarm.observe")

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
        self._state.remember(history)
        self._sources: LiveSources | None = None
        # What a run without a view says on the terminal is in the log of one with a view as well.
        self._lines = LineProgress()
        self._live: Live | None = None
        self._restore = contextlib.ExitStack()

    def started(self, run: RunInfo) -> None:
        with self._lock:
            self._state.run = run
        if self._live is not None:
            return
        self._lines.started(run)
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

    def watch(self, sources: LiveSources) -> None:
        with self._lock:
            self._sources = sources

    def phase(self, name: str, detail: str = "", *, round: int | None = None) -> None:
        with self._lock:
            self._state.enter(name, detail, round, self._clock())
        self._lines.phase(name, detail, round=round)

    def round_done(self, report: RoundReport) -> None:
        with self._lock:
            self._state.add(report)
        self._lines.round_done(report)

    def transactions(self, rows: Sequence[TransactionRow]) -> None:
        with self._lock:
            self._state.transactions = tuple(rows)
        self._lines.transactions(rows)

    def held_out(self, value: float) -> None:
        with self._lock:
            self._state.held_out_before[len(self._state.reports)] = value
        self._lines.held_out(value)

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
        self._look()
        live.stop()
        self._restore.close()
        with self._lock:
            self._state.closed = True
        atexit.unregister(self.close)
        self._console.print(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw one frame; rich's own thread calls this several times a second."""
        width, height = options.size
        self._look()
        with self._lock:
            lines = frame(self._state, width=width, height=height, now=self._clock(), name_of=self._name_of)
        yield Text("\n").join(lines)

    def _look(self) -> None:
        """Look up what changes by itself. Of a node that has left the swarm, the last look counts."""
        with self._lock:
            sources = None if self._state.closed else self._sources
        if sources is None:
            return
        try:
            peers, waiting, rows = sources.peers(), sources.waiting(), sources.transactions()
        except SwarmUserError as error:
            logger.debug("What is shown cannot be looked up now: %s", error)
            return
        with self._lock:
            self._state.peers, self._state.waiting, self._state.transactions = peers, waiting, tuple(rows)

    def _watch_warnings(self) -> None:
        watcher = NoticeHandler(self._notice)
        ours = logging.getLogger(OURS)
        ours.addHandler(watcher)
        self._restore.callback(ours.removeHandler, watcher)

    def _notice(self, record: logging.LogRecord) -> None:
        with self._lock:
            self._state.warn(notice_of(record, self._clock()))


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

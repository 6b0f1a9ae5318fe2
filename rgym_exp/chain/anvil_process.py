"""anvil as a process that we own: started, watched, renewed, and stopped so that its state is saved."""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from requests.exceptions import RequestException
from web3.types import RPCEndpoint

from rgym_exp.base.child import end, tied
from rgym_exp.base.restarts import RestartPauses
from rgym_exp.chain import saved_state
from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.rpc import connect

logger = logging.getLogger("rl_swarm.chain")

START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 20.0
STATE_INTERVAL_SECONDS = 5
"""How often the state is saved: what a killed machine can lose. Nodes notice and send again."""
STATE_SILENCE_SECONDS = 6.0 * STATE_INTERVAL_SECONDS
"""A state that was not saved for so long won't be by itself."""
UPKEEP_SECONDS = 60.0
"""How often the state is copied, and its size looked at."""
RENEW_AT_BYTES = 4 * 1024 * 1024
"""What blocks may add: about 2000. anvil writes the whole file every few seconds, idle or not."""
RENEW_AT_ONCE_BYTES = 64 * 1024 * 1024
"""What they may add within ``RENEW_AFTER_SECONDS``: to write that much costs about a twentieth of a core."""
RENEW_AFTER_SECONDS = 300.0
"""Between two renewals. Each takes the chain away for a moment, and a busy swarm would have it renewed every minute."""

NICE = 5
"""By so much is the chain nicer than we are: the hub comes first where both want the processor."""

_LISTENING = "Listening on 127.0.0.1:"


class DevnetError(ChainError):
    """The local chain can't be started, or ended by itself."""


class AnvilProcess:
    """Runs ``command`` (without a port) for as long as we live.

    A thread of its own starts it and waits for it, because the signal that ends it with its parent is tied to the
    thread that started it, and a caller's thread (a worker of asyncio's pool, say) may end at any time. When it ends
    without being told to, it is started again on the same port, with growing pauses if it dies again and again.
    """

    def __init__(self, command: list[str], *, port: int, state_file: Path, log_file: Path) -> None:
        """Returns when it listens. ``port`` 0 takes a free one. Raises DevnetError or StateLost."""
        self.port = port
        self._command = command
        self._state_file = state_file
        self._log_file = log_file
        self._process: subprocess.Popen[str] | None = None
        self._listening: queue.SimpleQueue[int | ChainError] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._pauses = RestartPauses()
        self._has_run = False
        self._down: str | None = None
        """Why it doesn't run now; None while it does."""
        self._unwritten: str | None = None
        """Why its state isn't safe; None while it is."""
        self._renewing = False
        self._bytes_without_blocks = 0
        self._cut = 0.0
        """When that was (``time.monotonic``)."""
        self._one_renewal = threading.Lock()
        self._runner = threading.Thread(target=self._run, name="anvil", daemon=True)
        self._runner.start()
        self._await_listening()
        threading.Thread(target=self._keep_up, name="anvil upkeep", daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Whether it runs or is about to be started again; False when it was stopped, or its state is lost."""
        return self._runner.is_alive() and not self._stop.is_set()

    @property
    def trouble(self) -> str | None:
        """A sentence while it is down, or while its state file isn't written any more."""
        return self._down or self._unwritten

    @property
    def process_id(self) -> int:
        assert self._process is not None
        return self._process.pid

    def renew(self) -> None:
        """Restart it with a shortened state and return when it listens again. Raises like the constructor."""
        with self._one_renewal:
            while not self._listening.empty():  # said by a start that nobody waited for
                self._listening.get()
            self._renewing = True
            self._terminate()
            self._await_listening()

    def stop(self) -> None:
        self._stop.set()
        self._terminate()
        self._runner.join(timeout=5.0)

    def _await_listening(self) -> None:
        try:
            answer = self._listening.get(timeout=START_TIMEOUT_SECONDS)
        except queue.Empty:
            self.stop()
            raise DevnetError(
                f"The local chain didn't start within {START_TIMEOUT_SECONDS:.0f} s. What it said is in "
                f"{self._log_file}."
            ) from None
        if isinstance(answer, ChainError):
            raise answer
        self.port = answer

    def _terminate(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        if not end(process, seconds=STOP_TIMEOUT_SECONDS, gently=False):
            logger.warning("The local chain didn't end within %.0f s and was killed.", STOP_TIMEOUT_SECONDS)

    def _run(self) -> None:
        """Thread "anvil": one life after the other."""
        while not self._stop.is_set():
            self._pauses.began()
            try:
                status = self._live()
            except (ChainError, OSError) as error:
                trouble = error if isinstance(error, ChainError) else DevnetError(f"anvil can't be started: {error}.")
                if not self._stop.is_set():
                    logger.error("%s", trouble)
                self._listening.put(trouble)
                # What never ran won't, and nobody but a person brings a lost state back.
                if not self._has_run or isinstance(trouble, saved_state.StateLost):
                    return
                self._await_next_life(str(trouble))
                continue
            if self._renewing:
                self._renewing = False
            elif not self._stop.is_set():
                self._await_next_life(f"The local chain (anvil) ended by itself (status {status}).")

    def _live(self) -> int:
        """One life; returns the status that it ended with. Raises ChainError or OSError."""
        saved_state.prepare(self._state_file)
        # What contracts keep grows for ever, and no renewal makes it smaller: past the bound, each look would renew.
        self._bytes_without_blocks = self._state_file.stat().st_size if self._state_file.exists() else 0
        self._cut = time.monotonic()
        self._process = self._start()
        if self._stop.is_set():  # set while it started, when there was nothing to terminate yet
            self._process.terminate()
        return self._follow(self._process)

    def _await_next_life(self, trouble: str) -> None:
        pause = self._pauses.ended()
        self._down = f"{trouble} It is started again."
        logger.warning("%s Starting it again in %.1f s.", trouble, pause)
        self._stop.wait(pause)

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            tied([*self._command, "--port", str(self.port)]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # A Ctrl-C at the terminal is for us; we then end the chain in our own order. A group and no session of its
            # own: Linux shares the processor among sessions first, and the nice value would count for nothing.
            process_group=0,
        )
        # Whoever waits for the round waits for us alone; a block may come a little later.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + NICE)
        return process

    def _follow(self, process: subprocess.Popen[str]) -> int:
        """Read what it says until it ends; returns its status. The log keeps the start, where all that matters is."""
        assert process.stdout is not None
        listening = False
        last = ""
        with self._log_file.open("w", encoding="utf-8") as log:
            for line in process.stdout:
                if listening:
                    continue
                log.write(line)
                log.flush()
                last = line.strip() or last
                if line.startswith(_LISTENING):
                    listening = self._has_run = True
                    self._down = None
                    port = int(line.removeprefix(_LISTENING))
                    _say_no_more(port)
                    self._listening.put(port)
        status = process.wait()
        if not listening:
            raise DevnetError(f"The local chain ended at its start ({last or status}). See {self._log_file}.")
        return status

    @property
    def has_grown(self) -> bool:
        """Whether a renewal would make the state file smaller by much. Raises OSError."""
        if not self._state_file.exists():
            return False
        # A renewal costs as much as the contracts' own state is long, so it waits until that has doubled with blocks.
        grown = self._state_file.stat().st_size - self._bytes_without_blocks
        seldom = time.monotonic() - self._cut >= RENEW_AFTER_SECONDS
        return grown > max(RENEW_AT_BYTES if seldom else RENEW_AT_ONCE_BYTES, self._bytes_without_blocks)

    def _keep_up(self) -> None:
        """Thread "anvil upkeep": a copy of the state now and then, and a renewal when it has grown."""
        watch = saved_state.WritingWatch(self._state_file, longest_seconds=STATE_SILENCE_SECONDS)
        last = time.monotonic()
        while not self._stop.wait(min(UPKEEP_SECONDS, STATE_INTERVAL_SECONDS)) and self._runner.is_alive():
            self._look_at_writing(watch)
            if time.monotonic() - last < UPKEEP_SECONDS or self._down is not None:
                continue
            last = time.monotonic()
            try:
                saved_state.back_up(self._state_file)
                if self.has_grown:
                    began = time.monotonic()
                    self.renew()
                    away = time.monotonic() - began
                    logger.info("The local chain's state had grown; it was renewed, which took %.1f s.", away)
            except (OSError, ChainError) as error:
                logger.warning("The local chain's upkeep failed: %s", error)

    def _look_at_writing(self, watch: saved_state.WritingWatch) -> None:
        if self._down is not None:
            watch.begin_anew()
            self._unwritten = None
            return
        before, self._unwritten = self._unwritten, watch.look()
        if self._unwritten is not None and before is None:
            logger.warning("%s", self._unwritten)
        elif before is not None and self._unwritten is None:
            logger.info("The local chain's state is written again.")


def _say_no_more(port: int) -> None:
    """Have anvil write no line for each request and transaction: thousands a second, which nobody reads."""
    try:
        connect(f"http://127.0.0.1:{port}").provider.make_request(RPCEndpoint("anvil_setLoggingEnabled"), [False])
    except (RequestException, ValueError) as error:
        logger.debug("The local chain goes on talking: %s", error)

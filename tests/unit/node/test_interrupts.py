"""Once to finish cleanly, twice to end at once, never in the middle of an update."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rgym_exp.node import interrupts as interrupts_module
from rgym_exp.node.interrupts import Interrupts, StopRequested


def interrupts(said: list[str] | None = None) -> Interrupts:
    heard = said if said is not None else []
    return Interrupts(lambda: heard.append("first"), heard.append)


@pytest.fixture
def terminal_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's own output is the test runner's."""
    monkeypatch.setattr(interrupts_module, "let_go_of_the_terminal", lambda: None)


def raise_signal(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("terminal_kept")
def test_the_first_signal_stops_the_node_and_is_acknowledged(number: int) -> None:
    said: list[str] = []
    with interrupts(said), pytest.raises(StopRequested):
        raise_signal(number)
    assert said == ["first"]


def test_behind_a_shield_the_stop_waits_until_it_is_lowered() -> None:
    with interrupts() as guard:
        guard.raise_shield()
        raise_signal()
        with pytest.raises(StopRequested):
            guard.lower_shield()


def test_a_stop_ends_a_sleep_at_once() -> None:
    with interrupts() as guard:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        before = signal.signal(signal.SIGALRM, lambda *_: raise_signal())
        try:
            with pytest.raises(StopRequested):
                guard.sleep(60)
        finally:
            signal.signal(signal.SIGALRM, before)


def test_afterwards_signals_are_as_they_were() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_a_second_signal_ends_the_process_even_while_it_is_closing() -> None:
    program = """
import os, signal
from rgym_exp.node import interrupts as interrupts_module
from rgym_exp.node.interrupts import Interrupts, StopRequested
with Interrupts(lambda: print("finishing", flush=True), lambda lost: print(lost, flush=True)) as guard:
    guard.what_is_lost = lambda: "7 rounds lost"
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except StopRequested:
        with guard.closing():
            os.kill(os.getpid(), signal.SIGINT)
            print("never said", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["finishing", "7 rounds lost"]
    assert "never said" not in done.stdout
    assert done.returncode == 128 + signal.SIGINT


@pytest.mark.usefixtures("terminal_kept")
def test_a_hangup_that_comes_twice_or_before_a_sigterm_ends_nothing_at_once() -> None:
    said: list[str] = []
    with interrupts(said) as guard:
        with pytest.raises(StopRequested):
            raise_signal(signal.SIGHUP)
        with guard.closing():
            raise_signal(signal.SIGHUP)
            raise_signal(signal.SIGTERM)
    assert said == ["first"]


def test_a_program_that_was_started_to_outlive_its_terminal_does() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts():
            raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_is_said_to_a_closed_terminal_keeps_nothing_from_being_finished(tmp_path: Path) -> None:
    program = f"""
import os, sys
from rgym_exp.node.interrupts import Interrupts, StopRequested
with Interrupts(lambda: print("finishing", flush=True), lambda lost: None) as guard:
    try:
        print("ready", flush=True)
        guard.sleep(60)
    except StopRequested:
        with guard.closing():
            print("writing", flush=True)
            print("a checkpoint", file=sys.stderr, flush=True)
            open({str(tmp_path / "checkpoint")!r}, "w").close()
"""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", program])
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 100)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / "checkpoint").exists()

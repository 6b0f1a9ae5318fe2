"""Once to finish cleanly, twice to end at once, never in the middle of an update."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from rgym_exp.node.interrupts import Interrupts, StopRequested


def interrupts(said: list[str] | None = None) -> Interrupts:
    heard = said if said is not None else []
    return Interrupts(lambda: heard.append("first"), lambda: heard.append("second"))


def raise_signal(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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
from rgym_exp.node.interrupts import Interrupts, StopRequested
with Interrupts(lambda: print("finishing", flush=True), lambda: print("at once", flush=True)) as guard:
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except StopRequested:
        with guard.closing():
            os.kill(os.getpid(), signal.SIGINT)
            print("never said", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["finishing", "at once"]
    assert "never said" not in done.stdout
    assert done.returncode == 128 + signal.SIGINT

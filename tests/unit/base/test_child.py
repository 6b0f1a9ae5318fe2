"""Ending a program that we started."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from rgym_exp.base.child import end

READS_ITS_INPUT = "import sys; print('ready', flush=True); sys.stdin.read()"
SLEEPS = "import signal; print('ready', flush=True); signal.pause()"
SAYS_NO = (
    "import signal\n"
    "signal.signal(signal.SIGTERM, lambda number, frame: print('no', flush=True))\n"
    "print('ready', flush=True)\n"
    "while True: signal.pause()"
)


def started(program: str) -> subprocess.Popen[str]:
    """It runs, and has said so."""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def said(process: subprocess.Popen[str]) -> str:
    """What it printed since."""
    assert process.stdout is not None
    with process.stdout as output:
        return output.read()


def test_the_end_of_its_input_is_enough_for_one_that_heeds_it() -> None:
    process = started(READS_ITS_INPUT)
    assert end(process, seconds=60)
    assert process.returncode == 0
    assert said(process) == ""


def test_one_that_does_not_heed_it_is_told_by_sigterm() -> None:
    process = started(SLEEPS)
    assert end(process, seconds=0.5)
    assert process.returncode == -signal.SIGTERM
    assert said(process) == ""


@pytest.mark.parametrize("gently", [True, False])
def test_one_that_says_no_is_asked_once_and_then_killed(gently: bool) -> None:
    process = started(SAYS_NO)
    assert not end(process, seconds=0.5, gently=gently)
    assert process.returncode == -signal.SIGKILL
    assert said(process) == "no\n"


def test_without_gentleness_sigterm_does_not_wait() -> None:
    process = started(SLEEPS)
    # Far more than a test may take: nothing of it passes.
    assert end(process, seconds=600, gently=False)
    assert process.returncode == -signal.SIGTERM
    assert said(process) == ""


def test_one_that_has_ended_is_left_as_it_is() -> None:
    process = started("print('ready', flush=True)")
    process.wait()
    assert end(process, seconds=600, gently=False)
    assert process.returncode == 0
    assert said(process) == ""

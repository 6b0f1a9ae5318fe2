"""A signal is heard of at once."""

from __future__ import annotations

import hashlib
import os
import signal
import threading

import pytest

from rgym_exp.base.signal_watch import SignalWatch


def test_a_stop_is_heard_of_while_the_main_thread_computes_in_a_library() -> None:
    happened: list[str] = []
    heard = threading.Event()

    def on_stop() -> None:
        happened.append("heard")
        heard.set()

    before = signal.signal(signal.SIGINT, lambda *_: happened.append("handled"))
    try:
        with SignalWatch(on_stop):
            threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            while not happened:
                # One instruction to the interpreter, and about a second long.
                hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000)
            assert heard.wait(60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert happened == ["heard", "handled"]


def test_it_is_told_once_and_other_signals_are_no_stop() -> None:
    told: list[str] = []
    handled: list[int] = []
    numbers = (signal.SIGUSR1, signal.SIGINT, signal.SIGINT)
    before = {number: signal.signal(number, lambda number, _: handled.append(number)) for number in set(numbers)}
    try:
        with SignalWatch(lambda: told.append("stop")):
            os.kill(os.getpid(), numbers[0])
            assert handled == [signal.SIGUSR1] and not told
            for number in numbers[1:]:
                os.kill(os.getpid(), number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert told == ["stop"]


def test_afterwards_nothing_is_watched() -> None:
    with SignalWatch(lambda: pytest.fail("nothing was to be heard")):
        pass
    assert signal.set_wakeup_fd(-1) == -1

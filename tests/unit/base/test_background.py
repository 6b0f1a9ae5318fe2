"""The thread in which a judge is talked to."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from rgym_exp.base.background import Background


def test_calls_are_made_one_after_the_other_in_their_order() -> None:
    background = Background("test")
    made: list[int] = []
    futures = [background.submit(partial(made.append, number)) for number in range(50)]
    futures[-1].result(timeout=10)
    assert made == list(range(50))
    assert background.close(timeout_seconds=10)


def test_what_a_call_gives_or_raises_is_its_futures() -> None:
    background = Background("test")
    assert background.submit(lambda: 2).result(timeout=10) == 2
    failed = background.submit(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        failed.result(timeout=10)
    assert background.submit(lambda: 3).result(timeout=10) == 3
    assert background.close(timeout_seconds=10)


def test_whoever_hands_in_or_closes_does_not_wait_for_a_call_that_hangs() -> None:
    background, released, began = Background("test"), threading.Event(), threading.Event()
    hanging = background.submit(lambda: (began.set(), released.wait(60)))
    after = background.submit(lambda: 1)
    assert began.wait(10)
    assert not background.close()
    assert not hanging.done() and not after.done()
    released.set()
    assert after.result(timeout=10) == 1


def test_a_call_that_was_cancelled_in_time_is_not_made() -> None:
    background, released = Background("test"), threading.Event()
    background.submit(lambda: released.wait(60))
    made: list[int] = []
    assert background.submit(lambda: made.append(1)).cancel()
    released.set()
    assert background.close(timeout_seconds=10)
    assert made == []


def test_its_thread_does_not_keep_a_process_alive() -> None:
    background = Background("of its own")
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "of its own"] == [True]
    assert background.close(timeout_seconds=10)

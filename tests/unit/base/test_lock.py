"""A file that one process at a time holds locked."""

import subprocess
import sys
import threading
from pathlib import Path

from rgym_exp.base.lock import file_lock

HOLDS = """
import sys
from pathlib import Path
from rgym_exp.base.lock import file_lock
with file_lock(Path(sys.argv[1])) as held:
    print(held is not None, flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> "subprocess.Popen[str]":
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "True\n"
    return process


def test_a_second_holder_is_told_at_once_and_the_first_ones_death_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as other:
        with file_lock(path) as held:
            assert held is None
        other.kill()
        other.wait()
        with file_lock(path) as held:
            assert held is not None


def test_whoever_waits_gets_it_when_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    waited: list[float] = []
    with holder(path) as other:

        def let_go(seconds: float) -> None:
            waited.append(seconds)
            assert other.stdin is not None
            other.stdin.close()

        with file_lock(path, wait=threading.Event(), on_wait=let_go) as held:
            assert held is not None
    assert waited


def test_waiting_ends_without_it_when_told_to_stop(tmp_path: Path) -> None:
    path, stop = tmp_path / "lock", threading.Event()
    with holder(path) as other:
        with file_lock(path, wait=stop, on_wait=lambda seconds: stop.set()) as held:
            assert held is None
        other.kill()


def test_a_program_that_is_handed_the_descriptor_keeps_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path) as held:
        assert held is not None
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(held,)
        )
    with child, file_lock(path) as again:
        assert again is None
        child.kill()
    with file_lock(path) as free:
        assert free is not None

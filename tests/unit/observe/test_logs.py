"""What reaches the log file, and what reaches the terminal."""

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from rgym_exp.observe.logs import HIDDEN, OURS, route_third_party_logs, setup_logging


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger(OURS)
    before = list(root.handlers), list(ours.handlers), root.level, ours.level, threading.excepthook
    yield
    for handler in [*root.handlers, *ours.handlers]:
        if handler not in (*before[0], *before[1]):
            handler.close()
    root.handlers[:], ours.handlers[:] = before[0], before[1]
    root.setLevel(before[2])
    ours.setLevel(before[3])
    threading.excepthook = before[4]
    logging.captureWarnings(False)


class Terminal:
    """What has been written to stderr so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


def test_our_records_reach_file_and_terminal(tmp_path: Path, terminal: Terminal) -> None:
    log = tmp_path / "logs" / "swarm.log"
    setup_logging(log, "INFO", console=True)
    logging.getLogger("rl_swarm.node").info("hello")
    logging.getLogger("rl_swarm.node").debug("too fine")
    assert "INFO    rl_swarm.node: hello" in log.read_text()
    assert "too fine" not in log.read_text()
    assert terminal.getvalue().endswith(" hello\n")


def test_the_terminal_names_the_level_of_what_is_wrong_and_shows_no_traceback(
    tmp_path: Path, terminal: Terminal
) -> None:
    log = tmp_path / "swarm.log"
    setup_logging(log, "info", console=True)
    try:
        raise RuntimeError("deep")
    except RuntimeError:
        logging.getLogger("rl_swarm.node").exception("it broke")
    assert "error: it broke" in terminal.getvalue()
    assert "Traceback" not in terminal.getvalue()
    assert "RuntimeError: deep" in log.read_text()


def test_other_libraries_reach_the_file_only(tmp_path: Path, terminal: Terminal) -> None:
    setup_logging(tmp_path / "swarm.log", "INFO", console=True)
    noisy = logging.getLogger("noisy_library")
    noisy.addHandler(logging.StreamHandler(sys.stderr))
    noisy.propagate = False  # As hivemind and transformers do when they are imported.
    route_third_party_logs()
    noisy.warning("look at me")
    assert terminal.getvalue() == ""
    assert "noisy_library: look at me" in (tmp_path / "swarm.log").read_text()


def test_without_console_the_terminal_stays_clean(tmp_path: Path, terminal: Terminal) -> None:
    setup_logging(tmp_path / "swarm.log", "INFO", console=False)
    logging.getLogger("rl_swarm.node").error("only in the file")
    assert terminal.getvalue() == ""
    assert "only in the file" in (tmp_path / "swarm.log").read_text()


def test_setting_up_twice_writes_each_record_once(tmp_path: Path, terminal: Terminal) -> None:
    for _ in range(2):
        setup_logging(tmp_path / "swarm.log", "INFO", console=True)
    logging.getLogger("rl_swarm.node").info("once")
    assert (tmp_path / "swarm.log").read_text().count("once") == 1
    assert terminal.getvalue().count("once") == 1


def test_secrets_are_hidden_wherever_they_stand(tmp_path: Path, terminal: Terminal) -> None:
    setup_logging(tmp_path / "swarm.log", "INFO", console=True, secrets=["hf_secret", ""])
    try:
        raise RuntimeError("401 for hf_secret")
    except RuntimeError:
        logging.getLogger("rl_swarm.node").exception("login with %s failed", "hf_secret")
    for text in ((tmp_path / "swarm.log").read_text(), terminal.getvalue()):
        assert "hf_secret" not in text
        assert f"login with {HIDDEN} failed" in text


def test_warnings_are_logged(tmp_path: Path, terminal: Terminal) -> None:
    setup_logging(tmp_path / "swarm.log", "INFO", console=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("this will go away", FutureWarning, stacklevel=1)
    assert "this will go away" in (tmp_path / "swarm.log").read_text()
    assert terminal.getvalue() == ""


def test_a_thread_that_dies_is_in_the_log(tmp_path: Path, terminal: Terminal) -> None:
    setup_logging(tmp_path / "swarm.log", "INFO", console=True)

    def fail() -> None:
        raise ValueError("nobody caught me")

    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    assert "worker ended with an exception: nobody caught me" in terminal.getvalue()
    assert "Traceback" in (tmp_path / "swarm.log").read_text()


def test_the_file_rotates_and_five_old_ones_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rgym_exp.observe.logs.MAX_BYTES", 500)
    setup_logging(tmp_path / "swarm.log", "INFO", console=False)
    for number in range(100):
        logging.getLogger("rl_swarm.node").info("line %d %s", number, "x" * 100)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["swarm.log"] + [f"swarm.log.{n}" for n in range(1, 6)]

"""How files are written, read at their end, and put aside."""

import logging
import os
import stat
from pathlib import Path

import pytest

from rgym_exp.base.files import atomic_write, last_lines, set_aside


def test_a_file_is_replaced_whole_and_has_the_mode_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "new" / "key"
    atomic_write(file, b"one", mode=0o600)
    atomic_write(file, b"two", mode=0o600)
    assert file.read_bytes() == b"two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["key"]


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state"
    atomic_write(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(file, b"new")
    assert file.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


def test_the_last_lines_of_a_log_are_told_however_it_ends(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n\n  50 %\r100 %\nbroken \xff\n\nlast, cut off")
    assert last_lines(log) == ["first", "50 %", "100 %", "broken \ufffd", "last, cut off"]
    assert last_lines(log, max_bytes=7) == ["cut off"]
    log.write_bytes(b"")
    assert last_lines(log) == []


def test_a_damaged_file_is_kept_under_a_name_of_its_own_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "state.json"
    aside = []
    for content in ("one", "two"):
        file.write_text(content)
        aside.append(set_aside(file, "it is no JSON", "A new one begins.", log=logging.getLogger("rl_swarm.test")))
    assert not file.exists()
    assert [kept.read_text() for kept in aside if kept] == ["one", "two"]
    assert all(kept and kept.name.startswith("state.json.damaged-") for kept in aside)
    said = f"{file} can't be used (it is no JSON). It is kept as {aside[0] and aside[0].name}. A new one begins."
    assert caplog.messages[0] == said


def test_what_lies_beside_a_database_goes_with_it(tmp_path: Path) -> None:
    for name in ("a.sqlite", "a.sqlite-wal", "a.sqlite-shm"):
        (tmp_path / name).write_text(name)
    aside = set_aside(tmp_path / "a.sqlite", "?", "", log=logging.getLogger("rl_swarm.test"))
    assert aside is not None
    assert {path.name for path in tmp_path.iterdir()} == {aside.name, f"{aside.name}-wal", f"{aside.name}-shm"}


def test_where_it_can_not_be_moved_it_stays_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "state.json"
    file.write_text("one")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    assert set_aside(file, "it is no JSON", "A new one begins.", log=logging.getLogger("rl_swarm.test")) is None
    assert "It could not be moved (Permission denied)." in caplog.text

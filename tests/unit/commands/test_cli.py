"""The command line: fast help, and failures as one sentence with the log."""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rgym_exp import cli
from rgym_exp.commands import invite as invite_command
from rgym_exp.errors import SwarmUserError

REPOSITORY = Path(__file__).parents[3]


def test_help_names_every_command_and_loads_no_heavy_library() -> None:
    program = (
        "import sys; from rgym_exp.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules)"
    )
    for arguments in (["--help"], *([command, "--help"] for command in cli.COMMANDS)):
        answer = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        assert "example" in answer.stdout, arguments
        loaded = set(answer.stdout.splitlines()[-1].split())
        assert not loaded & {"torch", "hivemind", "web3", "transformers", "aiohttp"}, arguments
        if arguments == ["--help"]:
            assert all(f"\n    {command} " in answer.stdout for command in cli.COMMANDS)


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "COMMAND" in capsys.readouterr().err


def test_an_unknown_command_is_wrong_usage() -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["dance"])


def test_a_mistyped_command_is_answered_with_the_one_that_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["statsu"])
    assert ended.value.code == 2
    assert "there is no command 'statsu'; did you mean status?" in capsys.readouterr().err


def test_our_own_errors_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["invite", "rlswarm1:broken", "--home", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("rl-swarm invite: The invite is damaged")


def test_the_log_is_named_when_the_command_has_written_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "logs" / "invite.log"

    def fails(args: object) -> int:
        log.parent.mkdir()
        log.write_text("what happened")
        raise SwarmUserError("It did not work. Do this.")

    monkeypatch.setattr(invite_command, "execute", fails)
    assert cli.main(["invite", "--home", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"rl-swarm invite: It did not work. Do this.\nlog: {log}\n"


def test_an_unexpected_error_keeps_its_traceback_in_the_log_and_off_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(args: object) -> int:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(invite_command, "execute", fails)
    assert cli.main(["invite", "--home", str(tmp_path)]) == 1
    shown = capsys.readouterr().err
    log = tmp_path / "logs" / "invite.log"
    assert "unexpected ZeroDivisionError: oh" in shown and f"log: {log}" in shown and "Traceback" not in shown
    assert "Traceback" in log.read_text() and "in fails" in log.read_text()


def test_ctrl_c_is_no_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(invite_command, "execute", interrupted)
    assert cli.main(["invite", "--home", str(tmp_path)]) == 130
    assert "stopped" in capsys.readouterr().err


def test_errors_of_every_package_are_told_in_one_sentence() -> None:
    from rgym_exp.chain.coordinator import ChainError
    from rgym_exp.errors import ConfigError, IdentityError, InviteError, SwarmError, TasksError

    for error in (ChainError, ConfigError, InviteError, IdentityError, SwarmError, TasksError):
        assert issubclass(error, SwarmUserError)


def test_a_ctrl_c_while_the_command_is_loaded_ends_with_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert cli.main(["run"]) == 130
    assert capsys.readouterr().err == "rl-swarm run: stopped.\n"


def test_settings_may_stand_before_and_after_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "first.wrong=1", "--home", str(tmp_path), "--rounds", "2", "second.wrong=2"]) == 1
    told = capsys.readouterr().err
    assert "first.wrong" in told and "second.wrong" in told


def test_an_unknown_option_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["run", "--home", str(tmp_path), "a.b=1", "--nonsense", "c.d=1"])
    assert end.value.code == 2
    assert "--nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "meant"), [("--netwrok", "--network"), ("--jion=x", "--join"), ("--nonsense", "")])
def test_a_mistyped_option_is_answered_with_the_one_that_was_meant(
    given: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--home", str(tmp_path), given, "offline"])
    told = capsys.readouterr().err
    assert (f"Did you mean {meant}?" in told) if meant else ("Did you mean" not in told)


@pytest.mark.parametrize("option", ["--join", "--network", "--home"])
def test_an_empty_value_is_no_swarm_of_ones_own(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    # As from --join "$INVITE" where that variable isn't set.
    with pytest.raises(SystemExit) as end:
        cli.main(["run", option, ""])
    assert end.value.code == 2
    assert f"{option} is empty" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run", "--network", "offline"], ["hub"]])
def test_a_home_that_cannot_be_written_is_told_in_one_sentence(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("a file where a folder belongs")
    assert cli.main([*command, "--home", str(tmp_path)]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"rl-swarm {command[0]}: {tmp_path / 'logs'}: File exists. Where a folder belongs is a file")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "No space left on device. Make room"),
        (errno.EACCES, "/data/x: Permission denied. Mend its owner and permissions"),
        (errno.EROFS, "/data/x: Read-only file system. Mend its owner"),
        (errno.EMFILE, "Too many open files. Allow more open files"),
    ],
)
def test_what_the_machine_refuses_is_no_mistake_to_report(
    number: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(args: object) -> int:
        raise OSError(number, os.strerror(number), *(["/data/x"] if "/data/x" in said else []))

    monkeypatch.setattr(invite_command, "execute", fails)
    assert cli.main(["invite", "--home", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"rl-swarm invite: {said}")
    assert "report" not in told
    assert "in fails" in (tmp_path / "logs" / "invite.log").read_text()


@pytest.mark.parametrize("given", ["abc", "0", "99999", "-1", "8.5"])
def test_what_is_no_port_is_said_so(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["hub", f"--port={given}"])
    assert f"argument --port: {given} is no port (1 to 65535)" in capsys.readouterr().err


def test_a_folder_that_was_removed_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.delenv("RL_SWARM_HOME", raising=False)
    gone.rmdir()
    assert cli.main(["status"]) == 1
    assert capsys.readouterr().err == "rl-swarm status: The current folder is no more. Go to another one.\n"


def test_a_configuration_without_end_is_no_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "configs" / "rg-swarm.yaml"
    file.parent.mkdir()
    file.write_text("training:\n  max_rounds: " + "[" * 3000)
    assert cli.main(["run", "--home", str(tmp_path)]) == 1
    assert "configs/rg-swarm.yaml is no configuration" in capsys.readouterr().err

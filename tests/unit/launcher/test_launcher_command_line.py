"""From the launcher's options to the command that it runs."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rgym_exp.cli import COMMANDS


def command_of(done: Any) -> list[str]:
    """The words after the variables of the command that was printed."""
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stdout)
    return words[words.index("rl-swarm") :]


def test_options_come_first_and_settings_keep_their_order(checkout: Any) -> None:
    done = checkout.run(
        "--rounds", "3", "training.num_generations=4", "+training.seed=1", "--network=offline", "--print-command"
    )
    expected = "rl-swarm run --rounds 3 --network offline training.num_generations=4 +training.seed=1"
    assert command_of(done) == expected.split(" ")


def test_a_setting_with_spaces_and_quotes_stays_one_word(checkout: Any) -> None:
    setting = "communications.bootnodes=['/ip4/1.2.3.4/tcp/1', 'two words']"
    assert command_of(checkout.run(setting, "--print-command"))[-1] == setting


def test_what_follows_two_dashes_is_passed_on_unread(checkout: Any) -> None:
    assert command_of(checkout.run("--print-command", "--", "--verbose"))[-1] == "--verbose"


def test_the_home_is_the_checkout_wherever_the_launcher_is_called_from(checkout: Any, tmp_path: Path) -> None:
    done = checkout.run("--print-command", cwd=tmp_path)
    assert f"RL_SWARM_HOME={checkout.root}" in shlex.split(done.stdout)


def test_a_home_given_by_option_goes_before_the_variable(checkout: Any) -> None:
    done = checkout.run("--home", "/tmp/a home", "--print-command", RL_SWARM_HOME="/tmp/other")
    assert "RL_SWARM_HOME=/tmp/a home" in shlex.split(done.stdout)
    assert command_of(done) == ["rl-swarm", "run", "--home", "/tmp/a home"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--bogus"], "There is no option --bogus."),
        (["--ronds", "3"], "There is no option --ronds; did you mean --rounds?"),
        (["statsu"], "There is no command 'statsu'; did you mean status?"),
        (["lgoin", "--headless"], "There is no command 'lgoin'; did you mean login?"),
        (["hubb"], "There is no command 'hubb'; did you mean hub?"),
        (["Qwen/Qwen3-0.6B"], "There is no command 'Qwen/Qwen3-0.6B'."),
        (["--join"], "--join needs a value."),
        (["--join", "--yes"], "--join needs a value."),
        (["--home="], "--home needs a value."),
        (["--rounds", "many"], "--rounds takes a number from 1 up, and 'many' is none."),
        (["--rounds=0"], "--rounds takes a number from 1 up, and '0' is none."),
        (["--network", "mainnet"], "There is no network 'mainnet'; there are local, gensyn-testnet and offline."),
        (["--network", "local", "--join", "x"], "--network and --join exclude each other"),
        (["--yes", "hub"], "'hub' is neither an option nor a setting (KEY=VALUE)."),
    ],
)
def test_misuse_is_answered_with_a_sentence_and_status_2(checkout: Any, arguments: list[str], sentence: str) -> None:
    done = checkout.run(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "See ./run_rl_swarm.sh --help." in done.stderr
    assert not (checkout.root / ".venv").exists()


def test_help_installs_nothing_and_names_every_option(checkout: Any) -> None:
    done = checkout.run("--help")
    assert done.returncode == 0
    for option in ("--network", "--join", "--rounds", "--home", "--yes", "--print-command", "KEY=VALUE"):
        assert option in done.stdout
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_of_the_launchers_too(checkout: Any, command: str) -> None:
    checkout.add_environment()
    assert f"argument: {command}" in checkout.run(command, "--help").stdout or command == "run"


@pytest.mark.parametrize("shell", [["sh"], ["sh", "-u"], ["bash", "--posix"]])
def test_a_shell_that_is_named_before_it_is_no_obstacle(checkout: Any, tmp_path: Path, shell: list[str]) -> None:
    """Debian's sh knows neither arrays nor pipefail."""
    for folder, name in ((checkout.root, "run_rl_swarm.sh"), (tmp_path, str(checkout.root / "run_rl_swarm.sh"))):
        done = subprocess.run(
            [*shell, name, "--rounds", "3", "--print-command"],
            cwd=folder,
            env=checkout.environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert command_of(done) == ["rl-swarm", "run", "--rounds", "3"]
        assert f"RL_SWARM_HOME={checkout.root}" in shlex.split(done.stdout)


@pytest.mark.parametrize("relative", [True, False])
def test_a_link_to_it_starts_the_checkout_that_it_leads_to(checkout: Any, tmp_path: Path, relative: bool) -> None:
    (tmp_path / "bin").mkdir()
    target = checkout.root / "run_rl_swarm.sh"
    first = tmp_path / "bin" / "swarm"
    first.symlink_to(Path("..") / target.relative_to(tmp_path) if relative else target)
    second = tmp_path / "swarm"
    second.symlink_to("bin/swarm")
    for link in (first, second):
        done = subprocess.run(
            [str(link), "--print-command"], env=checkout.environ, capture_output=True, text=True, timeout=60
        )
        assert command_of(done) == ["rl-swarm", "run"]
        assert f"RL_SWARM_HOME={checkout.root}" in shlex.split(done.stdout)


@pytest.mark.parametrize("arguments", [[], ["--network", "gensyn-testnet"]])
def test_answers_in_a_pipe_are_said_to_go_unread(checkout: Any, arguments: list[str]) -> None:
    script = str(checkout.root / "run_rl_swarm.sh")
    done = subprocess.run(
        [script, *arguments, "--print-command"],
        env=checkout.environ,
        input="hf_secret\nQwen/Qwen3-0.6B\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert command_of(done) == ["rl-swarm", "run", *arguments]
    assert "What is piped in is not read" in done.stderr
    assert "MODEL_NAME=" in done.stderr
    assert "hf_secret" not in done.stderr


def test_an_empty_pipe_and_a_wish_not_to_be_asked_are_nothing_to_speak_of(checkout: Any) -> None:
    script = str(checkout.root / "run_rl_swarm.sh")
    for piped, arguments in (("", []), ("y\n", ["--yes"])):
        done = subprocess.run(
            [script, *arguments, "--print-command"],
            env=checkout.environ,
            input=piped,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""

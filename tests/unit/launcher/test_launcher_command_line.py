"""From the launcher's options to the command that it runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest


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


def test_help_installs_nothing_and_names_every_option(checkout: Any) -> None:
    done = checkout.run("--help")
    assert done.returncode == 0
    for option in ("--network", "--join", "--rounds", "--home", "--yes", "--print-command", "KEY=VALUE"):
        assert option in done.stdout
    assert not (checkout.root / ".venv").exists()

"""``rl-swarm login`` without a browser, and the way that a run then goes."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from eth_account import Account

from rgym_exp import cli
from rgym_exp.chain.account import load_account
from rgym_exp.commands.account_mode import account_mode, node_page, with_account
from rgym_exp.config.load import load_config
from rgym_exp.config.paths import Home
from tests.support.processes import REPOSITORY

KEY = "0x" + "11" * 32
ADDRESS = Account.from_key(KEY).address
ALCHEMY = ("NEXT_PUBLIC_ALCHEMY_API_KEY", "NEXT_PUBLIC_PAYMASTER_POLICY_ID")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in ("IDENTITY_PATH", "RL_SWARM_ACCOUNT_PASSPHRASE", "LOGIN_PORT", *ALCHEMY):
        monkeypatch.delenv(name, raising=False)
    # Nobody else's login server of this checkout is to be found.
    monkeypatch.setenv("LOGIN_DATA_DIR", str(tmp_path / "login"))
    return Home(root=tmp_path / "home", identity_path=None)


def login(home: Home, *arguments: str) -> int:
    return cli.main(["login", "--home", str(home.root), *arguments])


def test_a_key_file_is_made_and_shown_without_the_key(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert login(home, "--headless") == 0
    shown = capsys.readouterr().out
    account = load_account(home.account_key)
    assert account.address in shown and str(home.account_key) in shown and "(new;" in shown
    assert "send it some of the testnet's money" in shown
    assert bytes(account.key).hex() not in shown
    assert stat.S_IMODE(home.account_key.stat().st_mode) == 0o600
    assert login(home, "--headless") == 0
    assert "it was there already" in capsys.readouterr().out
    assert load_account(home.account_key).address == account.address


def test_a_key_is_imported_and_another_one_is_never_overwritten(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    brought = tmp_path / "brought.txt"
    brought.write_text(f"{KEY}\n")
    assert login(home, "--headless", "--import", str(brought)) == 0
    assert ADDRESS in capsys.readouterr().out
    brought.write_text("0x" + "22" * 32)
    assert login(home, "--headless", "--import", str(brought)) == 1
    assert "No key is overwritten" in capsys.readouterr().err
    assert load_account(home.account_key).address == ADDRESS


def test_a_passphrase_of_the_environment_encrypts_the_key_file_and_runs_are_told_to_need_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RL_SWARM_ACCOUNT_PASSPHRASE", "correct horse")
    assert login(home, "--headless", "--passphrase") == 0
    assert "RL_SWARM_ACCOUNT_PASSPHRASE" in capsys.readouterr().out
    assert "crypto" in json.loads(home.account_key.read_text())


def test_a_passphrase_that_is_soon_guessed_encrypts_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RL_SWARM_ACCOUNT_PASSPHRASE", "abc")
    assert login(home, "--headless", "--passphrase") == 1
    assert "has 3 of at least 12 characters" in capsys.readouterr().err
    assert not home.account_key.exists()


def test_a_passphrase_nobody_can_be_asked_for_is_told_by_its_variable(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert login(home, "--headless", "--passphrase") == 1
    assert "set RL_SWARM_ACCOUNT_PASSPHRASE" in capsys.readouterr().err
    assert not home.account_key.exists()


def test_at_a_terminal_two_different_passphrases_write_nothing(home: Home) -> None:
    master, terminal = pty.openpty()
    asking = subprocess.Popen(
        [sys.executable, "-m", "rgym_exp.cli", "login", "--headless", "--passphrase", "--home", str(home.root)],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    os.close(terminal)
    assert asking.stdout is not None
    for prompt, passphrase in ((b"Passphrase for the key file: ", b"one\n"), (b"Once more: ", b"another\n")):
        assert asking.stdout.read(len(prompt)) == prompt
        os.write(master, passphrase)
        assert asking.stdout.read(1) == b"\n"
    # Not communicate(), which knows nothing of what reading has put into the buffer already.
    output = asking.stdout.read()
    asking.stdout.close()
    asking.wait(30)
    os.close(master)
    assert asking.returncode == 1
    assert b"two passphrases differ" in output
    assert not home.account_key.exists()


@pytest.mark.parametrize("arguments", [["--import", "x"], ["--passphrase"], ["--timeout", "0"], ["--timeout", "-1"]])
def test_options_that_make_no_sense_together_are_told(
    home: Home, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert login(home, *arguments) == 1
    assert "--headless" in (said := capsys.readouterr().err) or "--timeout takes minutes" in said


def test_a_login_on_the_testnet_without_alchemys_key_is_told_before_anything_starts(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert login(home) == 1
    assert "NEXT_PUBLIC_ALCHEMY_API_KEY and NEXT_PUBLIC_PAYMASTER_POLICY_ID are not set" in capsys.readouterr().err
    assert cli.main(["run", "--home", str(home.root), "--network", "gensyn-testnet"]) == 1
    assert "NEXT_PUBLIC_ALCHEMY_API_KEY and NEXT_PUBLIC_PAYMASTER_POLICY_ID are not set" in capsys.readouterr().err
    assert not (home.logs / "yarn.log").exists()


def test_a_login_on_a_swarm_of_this_machine_needs_its_hub(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    from rgym_exp.base.ports import free_port

    home.hub.mkdir(parents=True)
    (home.hub / "hub.json").write_text(
        json.dumps({"swarm_id": "s", "tasks": "starter", "model_name": "auto", "port": free_port(), "p2p_port": 1})
    )
    assert login(home, "--network", "local") == 1
    assert "no hub answers at http://127.0.0.1:" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ the way of a run


def test_after_headless_a_run_on_the_testnet_signs_with_the_key_file_and_says_so(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    testnet = load_config(home, network="gensyn-testnet", environ={})
    assert account_mode(testnet, home) == "login"
    assert login(home, "--headless") == 0
    mode = account_mode(testnet, home)
    caplog.set_level("INFO")
    with ExitStack() as life:
        config = with_account(mode, testnet, home, life)
    assert (mode, config.network.coordinator) == ("chosen key file", "wallet")
    assert str(home.account_key) in caplog.text and "login --headless" in caplog.text


def test_other_networks_go_their_own_way(home: Home) -> None:
    assert account_mode(load_config(home, environ={}), home) == "key file"
    assert account_mode(load_config(home, network="offline", environ={}), home) == "none"
    elsewhere = ["network.login_url=http://192.0.2.1:3000/api"]
    config = load_config(home, network="gensyn-testnet", overrides=elsewhere, environ={})
    assert account_mode(config, home) == "login elsewhere"


@pytest.mark.parametrize(
    ("network", "settings"), [("offline", []), ("local", ["observe.page=no"]), ("gensyn-testnet", [])]
)
def test_no_page_where_there_is_no_key_file_to_show_or_none_is_wanted(
    home: Home, network: str, settings: list[str]
) -> None:
    config = load_config(home, network=network, overrides=settings, environ={})
    with ExitStack() as life:
        assert node_page(account_mode(config, home), config, home, life) is None

"""The parts that lead to an account: plan, token, addresses, key files, and the remembered way."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from eth_account import Account
from eth_typing import HexStr

from rgym_exp.base.ports import free_port_from, is_free
from rgym_exp.chain.account import load_account
from rgym_exp.config.load import load_config
from rgym_exp.config.paths import Home
from rgym_exp.errors import LoginError
from rgym_exp.login import browser
from rgym_exp.login.addresses import page_address, ways_from_elsewhere
from rgym_exp.login.choice import chosen_mode, remember_mode, takes_key_file, uses_login_server
from rgym_exp.login.key_file import import_key_file, make_key_file
from rgym_exp.login.login_plan import is_on_this_machine, plan_of, require_alchemy_key, wanted_port
from rgym_exp.login.node_page import stated_address
from rgym_exp.login.token import ensure_token

KEY = "0x" + "11" * 32
ADDRESS = Account.from_key(KEY).address


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path, identity_path=None)


# ------------------------------------------------------------------------------------------------ the wanted server


def test_the_testnets_login_server_is_alchemys_and_has_data_of_its_own(home: Home) -> None:
    config = load_config(home, network="gensyn-testnet", environ={})
    plan = plan_of(config, home, {"LOGIN_APP_DIR": "/a"})
    environ = plan.environment(3001)
    assert (plan.wallet, plan.chain_id, plan.port) == ("alchemy", 685685, 3000)
    assert plan.data_dir == Path("/a/temp-data")
    assert environ["LOGIN_PORT"] == "3001"
    assert environ["SWARM_CONTRACT_ADDRESS"] == "0xFaD7C5e93f28257429569B854151A1B8DCD404c2"
    assert environ["PRG_CONTRACT_ADDRESS"] == "0x51D4db531ae706a6eC732458825465058FA23a35"
    assert environ["SWARM_RPC_URL"] == "https://gensyn-testnet.g.alchemy.com/public"
    assert environ["SWARM_EXPLORER_URL"] == "https://gensyn-testnet.explorer.alchemy.com"


def test_logins_of_the_local_wallet_lie_apart_from_alchemys(home: Home) -> None:
    settings = ["network.chain_id=7", "blockchain.rpc_url=http://127.0.0.1:9", "network.hub=false"]
    settings += ["network.coordinator_address=0x" + "12" * 20]
    config = load_config(home, overrides=settings, environ={})
    plan = plan_of(config, home, {"LOGIN_APP_DIR": "/a"})
    assert (plan.wallet, plan.data_dir) == ("local", Path("/a/temp-data/local"))


def test_a_network_without_a_chain_has_no_login_server(home: Home) -> None:
    with pytest.raises(LoginError, match="names no chain"):
        plan_of(load_config(home, network="offline", environ={}), home, {})


def test_the_port_is_the_variables_then_the_networks_then_3000() -> None:
    assert wanted_port(None, {}) == 3000
    assert wanted_port("http://127.0.0.1:3100/api", {}) == 3100
    assert wanted_port("http://127.0.0.1:3100/api", {"LOGIN_PORT": "3200"}) == 3200
    for wrong in ("0", "65536", "http", "-1"):
        with pytest.raises(LoginError, match="LOGIN_PORT is"):
            wanted_port(None, {"LOGIN_PORT": wrong})


def test_a_login_server_elsewhere_is_not_ours_to_start() -> None:
    assert is_on_this_machine(None)
    assert is_on_this_machine("http://localhost:3000/api")
    assert not is_on_this_machine("http://192.0.2.7:3000/api")


def test_a_missing_key_of_alchemys_is_named_with_where_to_get_one_and_the_ways_without() -> None:
    with pytest.raises(LoginError) as missing:
        require_alchemy_key({"NEXT_PUBLIC_ALCHEMY_API_KEY": " "})
    with pytest.raises(LoginError, match="NEXT_PUBLIC_PAYMASTER_POLICY_ID is not set"):
        require_alchemy_key({"NEXT_PUBLIC_ALCHEMY_API_KEY": "k"})
    for part in (
        "NEXT_PUBLIC_ALCHEMY_API_KEY",
        "https://dashboard.alchemy.com",
        "NEXT_PUBLIC_PAYMASTER_POLICY_ID",
        "rl-swarm login --headless",
        "--network local",
    ):
        assert part in str(missing.value)
    require_alchemy_key({"NEXT_PUBLIC_ALCHEMY_API_KEY": "k", "NEXT_PUBLIC_PAYMASTER_POLICY_ID": "p"})


def test_a_taken_port_is_followed_by_the_next_free_one() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free("127.0.0.1", port)
        assert free_port_from(port) != port
    assert free_port_from(port) == port


# ------------------------------------------------------------------------------------------------ token and addresses


def test_the_token_is_private_and_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    token = ensure_token(folder)
    assert len(token) >= 40
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert ensure_token(folder) == token


def test_a_token_that_others_could_read_is_made_private_and_a_damaged_one_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("somebodys-token\n")
    file.chmod(0o644)
    assert ensure_token(tmp_path) == "somebodys-token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("")
    with pytest.raises(LoginError, match="Remove it"):
        ensure_token(tmp_path)


def test_who_sits_elsewhere_is_told_two_ways_with_the_port_in_use() -> None:
    lines = "\n".join(ways_from_elsewhere(3004, "secret", {}))
    assert "ssh -L 3004:localhost:3004 " in lines
    assert "tailscale serve --bg http://localhost:3004" in lines
    assert "LOGIN_ALLOWED_HOSTS=MACHINE.TAILNET.ts.net" in lines
    named = "\n".join(ways_from_elsewhere(3004, "secret", {"LOGIN_ALLOWED_HOSTS": "box.net.ts.net"}))
    assert "https://box.net.ts.net/#token=secret" in named and "LOGIN_ALLOWED_HOSTS" not in named
    assert page_address(3004) == "http://localhost:3004/"
    assert page_address(3004, "secret") == "http://localhost:3004/#token=secret"


def test_a_browser_is_opened_only_where_somebody_would_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser.sys, "platform", "linux")
    assert browser.has_browser({"DISPLAY": ":0"})
    assert not browser.has_browser({})
    assert not browser.has_browser({"DISPLAY": ":0", "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"})


def test_the_token_reaches_the_browser_by_a_private_file_and_not_by_its_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(browser, "_open", opened.append)
    browser.open_page('http://localhost:3000/#token=se"cret', tmp_path)
    file = tmp_path / "open.html"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert 'url=http://localhost:3000/#token=se&quot;cret"' in file.read_text()
    assert opened == [file.as_uri()]


# ------------------------------------------------------------------------------------------------ key files


def test_a_key_file_is_made_private_once_and_kept(home: Home) -> None:
    first = make_key_file(home.account_key, None)
    assert first.is_new and load_account(home.account_key).address == first.address
    assert stat.S_IMODE(home.account_key.stat().st_mode) == 0o600
    again = make_key_file(home.account_key, None)
    assert (again.is_new, again.address) == (False, first.address)


def test_a_key_file_with_a_passphrase_shows_no_key_and_opens_with_it_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RL_SWARM_ACCOUNT_PASSPHRASE", raising=False)
    made = make_key_file(home.account_key, "correct horse")
    content = json.loads(home.account_key.read_text())
    assert "private_key" not in content and stated_address(home.account_key) == made.address.lower()
    assert load_account(home.account_key, "correct horse").address == made.address


def test_a_passphrase_for_a_key_that_is_there_without_one_is_refused_with_the_way(home: Home) -> None:
    make_key_file(home.account_key, None)
    before = home.account_key.read_bytes()
    with pytest.raises(LoginError, match="--import .*--passphrase"):
        make_key_file(home.account_key, "late")
    assert home.account_key.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        f"{KEY}\n",
        KEY.removeprefix("0x"),
        json.dumps({"private_key": KEY}),
        json.dumps(Account.encrypt(HexStr(KEY), "its own", iterations=2)),
    ],
    ids=["hex", "bare hex", "ours", "keystore"],
)
def test_a_key_is_imported_from_each_form(home: Home, tmp_path: Path, content: str) -> None:
    source = tmp_path / "brought"
    source.write_text(content)
    source.chmod(0o600)
    imported = import_key_file(home.account_key, source, None, "its own")
    assert (imported.address, imported.is_new) == (ADDRESS, True)
    assert load_account(home.account_key).address == ADDRESS
    assert import_key_file(home.account_key, source, None, "its own").is_new is False


def test_an_import_never_overwrites_another_key(home: Home, tmp_path: Path) -> None:
    there = make_key_file(home.account_key, None)
    before = home.account_key.read_bytes()
    source = tmp_path / "brought"
    source.write_text(KEY)
    with pytest.raises(LoginError) as refused:
        import_key_file(home.account_key, source, None, None)
    assert there.address in str(refused.value) and ADDRESS in str(refused.value)
    assert f"mv {home.account_key} {home.account_key}.old" in str(refused.value)
    assert home.account_key.read_bytes() == before


@pytest.mark.parametrize("content", ["0x" + "00" * 32, "ff" * 32])
def test_what_looks_like_a_key_and_is_none_is_refused(home: Home, tmp_path: Path, content: str) -> None:
    source = tmp_path / "brought"
    source.write_text(content)
    with pytest.raises(LoginError, match="no private key"):
        import_key_file(home.account_key, source, None, None)
    assert not home.account_key.exists()


# ------------------------------------------------------------------------------------------------ the remembered way


def test_the_key_file_is_taken_where_the_network_would_have_a_login_and_nothing_else_was_asked(home: Home) -> None:
    testnet = load_config(home, network="gensyn-testnet", environ={})
    assert uses_login_server(testnet) and not takes_key_file(testnet, home)
    remember_mode(home, "key file")
    assert takes_key_file(testnet, home)
    asked = load_config(home, network="gensyn-testnet", overrides=["blockchain.coordinator=modal"], environ={})
    assert not takes_key_file(asked, home)
    assert not takes_key_file(load_config(home, environ={}), home)
    remember_mode(home, "browser")
    assert not takes_key_file(testnet, home)


def test_the_browser_is_the_way_until_another_was_chosen_and_that_leaves_no_file(home: Home) -> None:
    remember_mode(home, "browser")
    assert chosen_mode(home) == "browser"
    assert not home.login_choice.exists()


@pytest.mark.parametrize("content", ["", "{}", '{"way": "horse"}', "[]"])
def test_a_damaged_choice_is_told_and_not_guessed(home: Home, content: str) -> None:
    home.state.mkdir()
    home.login_choice.write_text(content)
    with pytest.raises(LoginError, match="is damaged"):
        chosen_mode(home)

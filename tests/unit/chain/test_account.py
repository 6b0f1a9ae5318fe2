"""The account's key file."""

from __future__ import annotations

import json
import stat
import threading

import pytest
from eth_account import Account

from rgym_exp.chain.account import PASSPHRASE_VARIABLE, AccountError, load_account, load_or_create_account


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_account_is_kept_in_a_private_file_and_found_again(tmp_path):
    path = tmp_path / "state" / "account.key"
    made = load_or_create_account(path)
    assert mode(path) == 0o600
    assert load_or_create_account(path).address == made.address
    assert [file.name for file in path.parent.iterdir()] == ["account.key"]


def test_an_existing_file_is_never_overwritten(tmp_path):
    path = tmp_path / "account.key"
    path.write_text("something of somebody's")
    with pytest.raises(AccountError, match="isn't JSON"):
        load_or_create_account(path)
    assert path.read_text() == "something of somebody's"


def test_several_processes_starting_at_once_agree_on_one_account(tmp_path):
    path = tmp_path / "account.key"
    found = []
    threads = [threading.Thread(target=lambda: found.append(load_or_create_account(path).address)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_file_that_others_can_read_is_made_private(tmp_path, caplog):
    path = tmp_path / "account.key"
    load_or_create_account(path)
    path.chmod(0o644)
    load_account(path)
    assert mode(path) == 0o600
    assert "could be read by other users" in caplog.text


def test_an_encrypted_file_opens_with_its_passphrase_only(tmp_path, monkeypatch):
    path = tmp_path / "account.key"
    made = load_or_create_account(path, "correct horse")
    assert bytes(made.key).hex() not in path.read_text()
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse")
    assert load_account(path).address == made.address
    with pytest.raises(AccountError, match="passphrase is wrong"):
        load_account(path, "battery staple")


def test_an_encrypted_file_asks_for_its_passphrase(tmp_path, monkeypatch):
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    path = tmp_path / "account.key"
    path.write_text(json.dumps({"version": 3, "crypto": {}}))
    with pytest.raises(AccountError, match=PASSPHRASE_VARIABLE):
        load_account(path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"private_key": "0x12"}', '{"private_key": 7}', "null"])
def test_a_file_without_a_usable_key_is_told_in_a_sentence(tmp_path, content):
    path = tmp_path / "account.key"
    path.write_text(content)
    with pytest.raises(AccountError, match="holds no usable private key"):
        load_account(path)


def test_a_key_that_is_not_the_stated_accounts_is_refused(tmp_path):
    path = tmp_path / "account.key"
    load_or_create_account(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "address": Account.create().address}))
    with pytest.raises(AccountError, match="its key belongs to"):
        load_account(path)


def test_errors_never_show_the_key(tmp_path):
    path = tmp_path / "account.key"
    secret = "ab" * 31  # one byte short
    path.write_text(json.dumps({"private_key": "0x" + secret}))
    with pytest.raises(AccountError) as caught:
        load_account(path)
    assert secret not in str(caught.value)

"""Show, back up, restore."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rgym_exp import cli
from rgym_exp.commands.backup import BackupError, seal, unseal
from rgym_exp.commands.sealed_stream import CHUNK_BYTES
from rgym_exp.config.paths import Home
from rgym_exp.swarm.identity import load_or_create_identity
from rgym_exp.swarm.names import animal_name
from rgym_exp.training.checkpoint import CheckpointStore, SwarmRecord

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RL_SWARM_PASSPHRASE", "correct horse")
    monkeypatch.delenv("IDENTITY_PATH", raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with an identity and an account."""
    home = Home(root=tmp_path / "home")
    load_or_create_identity(home.identity)
    home.account_key.parent.mkdir(parents=True)
    home.account_key.write_text(json.dumps({"address": "0x" + "ab" * 20, "private_key": "0x" + "01" * 32}))
    return home


def identity(home: Home, *arguments: str) -> int:
    return cli.main(["identity", "--home", str(home.root), *arguments])


def test_show_tells_file_peer_id_name_and_account(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    peer_id = load_or_create_identity(home.identity).peer_id
    assert identity(home, "show") == 0
    shown = capsys.readouterr().out
    for fact in (str(home.identity), peer_id, animal_name(peer_id), "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB"):
        assert fact in shown
    assert "01" * 32 not in shown


def test_home_may_come_after_the_action(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["identity", "show", "--home", str(home.root)]) == 0
    assert str(home.identity) in capsys.readouterr().out


def test_without_an_identity_show_says_where_one_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert identity(Home(root=tmp_path), "show") == 1
    assert "made on the first `rl-swarm run`" in capsys.readouterr().err
    assert not (tmp_path / "swarm.pem").exists()


def test_no_passphrase_is_asked_for_when_there_is_no_such_backup(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RL_SWARM_PASSPHRASE", raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt="": pytest.fail("a passphrase was asked for"))
    assert cli.main(["identity", "--home", str(home.root), "restore", "/nope"]) == 1
    assert "/nope can't be read: there is no such file." in capsys.readouterr().err


def test_a_backup_restores_the_same_peer_and_account_elsewhere(home: Home, tmp_path: Path) -> None:
    backup = tmp_path / "my.backup"
    other = Home(root=tmp_path / "new machine")
    assert identity(home, "backup", str(backup)) == 0
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert identity(other, "restore", str(backup)) == 0
    for path, original in ((other.identity, home.identity), (other.account_key, home.account_key)):
        assert path.read_bytes() == original.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_restoring_twice_changes_nothing(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup = tmp_path / "my.backup"
    assert identity(home, "backup", str(backup)) == 0
    assert identity(home, "restore", str(backup)) == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("different", ["identity", "account_key"])
def test_a_different_key_is_never_overwritten_not_even_in_part(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], different: str
) -> None:
    backup = tmp_path / "my.backup"
    assert identity(home, "backup", str(backup)) == 0
    other = Home(root=tmp_path / "other")
    kept: Path = getattr(other, different)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(b"another key")
    assert identity(other, "restore", str(backup)) == 1
    assert kept.read_bytes() == b"another key"
    assert [path for path in (other.identity, other.account_key) if path.exists()] == [kept]
    shown = capsys.readouterr().err
    assert str(kept) in shown and "--home DIR" in shown


def test_a_wrong_passphrase_opens_and_changes_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = tmp_path / "my.backup"
    assert identity(home, "backup", str(backup)) == 0
    monkeypatch.setenv("RL_SWARM_PASSPHRASE", "wrong horse")
    other = Home(root=tmp_path / "other")
    assert identity(other, "restore", str(backup)) == 1
    assert "passphrase doesn't open this backup" in capsys.readouterr().err
    assert not other.root.exists()


def test_a_backup_never_overwrites_a_file(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    assert identity(home, "backup", str(target)) == 1
    assert target.read_text() == "precious"
    assert "Choose another name" in capsys.readouterr().err


def test_nothing_of_the_keys_can_be_read_in_a_backup(home: Home, tmp_path: Path) -> None:
    backup = tmp_path / "my.backup"
    assert identity(home, "backup", str(backup)) == 0
    content = backup.read_bytes()
    assert b"01" * 32 not in content and b"swarm.pem" not in content and home.identity.read_bytes()[:64] not in content


def test_any_change_of_a_backup_is_noticed() -> None:
    backup = seal({"a": b"b" * 20}, "correct horse")
    assert unseal(backup, "correct horse") == {"a": b"b" * 20}
    header = json.loads(backup)
    for field in ("salt", "nonce", "sealed"):
        letters = header[field]
        changed = {**header, field: ("A" if letters[0] != "A" else "B") + letters[1:]}
        with pytest.raises(BackupError, match="passphrase doesn't open"):
            unseal(json.dumps(changed).encode(), "correct horse")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b"{}",
        b'{"format": "rl-swarm-identity-1"}',
        b'{"format": "rl-swarm-identity-1", "n": 1099511627776, "r": 8, "p": 1, "salt": "", "nonce": "", "sealed": ""}',
        b'{"format": "rl-swarm-identity-1", "n": 65536, "r": 8, "p": 1, "salt": "%", "nonce": "", "sealed": ""}',
        b'{"format": "rl-swarm-identity-1", "n": 65536, "r": 8, "p": 1, "salt": "", "nonce": "", "sealed": ""}',
        b" " * 2_000_000,
    ],
)
def test_what_is_no_backup_is_refused(content: bytes) -> None:
    with pytest.raises(BackupError):
        unseal(content, "p")


def test_an_empty_passphrase_is_refused() -> None:
    with pytest.raises(BackupError, match="empty"):
        seal({}, "")


def test_at_a_terminal_two_different_passphrases_write_nothing(home: Home, tmp_path: Path) -> None:
    backup = tmp_path / "my.backup"
    master, terminal = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "RL_SWARM_PASSPHRASE"}
    command = [sys.executable, "-m", "rgym_exp.cli", "identity", "backup", str(backup), "--home", str(home.root)]
    asking = subprocess.Popen(
        command,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
    )
    os.close(terminal)
    assert asking.stdout is not None
    for prompt, passphrase in ((b"Passphrase for the backup: ", b"one\n"), (b"Once more: ", b"another\n")):
        while not prompt.startswith(asking.stdout.read(1)):
            pass
        assert asking.stdout.read(len(prompt) - 1) == prompt[1:]
        os.write(master, passphrase)
    output, _ = asking.communicate(timeout=30)
    os.close(master)
    assert asking.returncode == 1
    assert b"two passphrases differ" in output
    assert not backup.exists()


@pytest.mark.parametrize(
    "weak", ["abc", "correcthors", "aaaaaaaaaaaaaaaa", "123456789012", "password1234", "Qwertyuiop12"]
)
def test_a_passphrase_that_is_soon_guessed_is_refused(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], weak: str
) -> None:
    monkeypatch.setenv("RL_SWARM_PASSPHRASE", weak)
    for more in ((), ("--with-model",)):
        assert identity(home, "backup", *more, str(tmp_path / "my.backup")) == 1
        assert "would soon open it" in capsys.readouterr().err
    assert list(tmp_path.glob("*.backup")) == []


def test_a_backup_of_keys_says_what_stays_behind(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert identity(home, "backup", str(tmp_path / "my.backup")) == 0
    said = capsys.readouterr().out
    assert "Only keys are in it" in said and "--with-model" in said


def test_a_file_that_is_not_there_is_told_before_a_passphrase_is_asked_for(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RL_SWARM_PASSPHRASE")
    assert identity(home, "restore", "/nope") == 1
    assert "/nope can't be read: there is no such file" in capsys.readouterr().err


@pytest.fixture
def trained(home: Home) -> Home:
    """A home with settings, a record of rounds, and a checkpoint of several chunks."""
    home.config_file.parent.mkdir(parents=True)
    home.config_file.write_text("training: {num_generations: 4}\n")
    home.logs.mkdir()
    (home.logs / "metrics.jsonl").write_text("{}\n")
    store = CheckpointStore(home.checkpoints, keep=2)
    folder = store.staging() / "checkpoint-7"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(os.urandom(3 * CHUNK_BYTES // 2))
    (folder / "optimizer.pt").write_bytes(os.urandom(CHUNK_BYTES))
    store.commit(folder, SwarmRecord(step=7, round=9, swarm_id="s", peer_id="p", model_name="m", lora=False))
    return home


def everything(home: Home) -> dict[str, bytes]:
    return {str(path.relative_to(home.root)): path.read_bytes() for path in home.root.rglob("*") if path.is_file()}


def test_a_node_moves_with_its_model_optimizer_and_settings(
    trained: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, other = tmp_path / "my.backup", Home(root=tmp_path / "new machine")
    assert identity(trained, "backup", "--with-model", str(backup)) == 0
    assert "m, step 7" in capsys.readouterr().out
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert identity(other, "restore", str(backup)) == 0
    assert everything(other) == everything(trained)
    assert stat.S_IMODE(other.identity.stat().st_mode) == 0o600
    newest = CheckpointStore(other.checkpoints, keep=2).latest()
    assert newest is not None and newest.record.step == 7


def test_restoring_a_node_where_others_settings_are_keeps_both(trained: Home, tmp_path: Path) -> None:
    backup, other = tmp_path / "my.backup", Home(root=tmp_path / "new machine")
    assert identity(trained, "backup", "--with-model", str(backup)) == 0
    other.config_file.parent.mkdir(parents=True)
    other.config_file.write_text("mine: true\n")
    assert identity(other, "restore", str(backup)) == 0
    assert other.config_file.read_text() == "mine: true\n"
    restored = other.config_file.with_name("rg-swarm.yaml.restored")
    assert restored.read_bytes() == trained.config_file.read_bytes()


@pytest.mark.parametrize("damage", ["cut short", "a chunk left out", "changed", "another key here", "wrong passphrase"])
def test_a_node_is_restored_whole_or_not_at_all(
    trained: Home, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, other = tmp_path / "my.backup", Home(root=tmp_path / "new machine")
    other.root.mkdir()
    assert identity(trained, "backup", "--with-model", str(backup)) == 0
    content = backup.read_bytes()
    start = content.index(b"\n") + 1
    match damage:
        case "cut short":
            backup.write_bytes(content[: start + 2 * (CHUNK_BYTES + 16)])
        case "a chunk left out":
            backup.write_bytes(content[:start] + content[start + CHUNK_BYTES + 16 :])
        case "changed":
            backup.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "another key here":
            other.identity.write_bytes(b"another key")
        case _:
            monkeypatch.setenv("RL_SWARM_PASSPHRASE", "another horse")
    before = everything(other)
    assert identity(other, "restore", str(backup)) == 1
    assert "othing was restored" in capsys.readouterr().err
    assert everything(other) == before


def test_a_backup_of_a_node_is_never_overwritten(trained: Home, tmp_path: Path) -> None:
    backup = tmp_path / "my.backup"
    backup.write_text("mine")
    assert identity(trained, "backup", "--with-model", str(backup)) == 1
    assert backup.read_text() == "mine"

"""The identity file: hivemind's format, never overwritten, and errors that say what to do."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hivemind.p2p import P2P, PeerID

from rgym_exp.errors import IdentityError
from rgym_exp.swarm.identity import Identity, load_identity, load_or_create_identity, peer_id_of, signature_is_valid


def test_a_new_identity_has_the_peer_id_that_hivemind_gives_it(identities: list[Identity]) -> None:
    identity = identities[0]
    assert PeerID.from_identity(identity.path.read_bytes()).to_base58() == identity.peer_id


def test_a_file_made_by_hivemind_keeps_its_peer_id(tmp_path: Path) -> None:
    path = tmp_path / "swarm.pem"
    P2P.generate_identity(str(path))
    assert load_identity(path).peer_id == PeerID.from_identity(path.read_bytes()).to_base58()


def test_a_new_file_is_readable_by_its_owner_only(identities: list[Identity]) -> None:
    assert stat.S_IMODE(identities[0].path.stat().st_mode) == 0o600


def test_an_existing_file_is_used_and_not_written(identities: list[Identity]) -> None:
    path = identities[0].path
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert load_or_create_identity(path).peer_id == identities[0].peer_id
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_missing_folder_is_made_and_nothing_else_is_left_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "swarm.pem"
    load_or_create_identity(path)
    assert [file.name for file in path.parent.iterdir()] == ["swarm.pem"]


def test_starts_at_the_same_moment_agree_on_one_identity(tmp_path: Path) -> None:
    path = tmp_path / "swarm.pem"
    barrier = threading.Barrier(4)
    peer_ids: list[str] = []

    def start() -> None:
        barrier.wait(30)
        peer_ids.append(load_or_create_identity(path).peer_id)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(peer_ids) == 4
    assert set(peer_ids) == {load_identity(path).peer_id}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n", "PEM text"),
        (b"hello", "not a libp2p protobuf"),
        (b"\x08\x01\x12\x03abc", "another type than RSA"),
        (b"\x08\x00\x12\x03abc", "damaged key"),
        (b"\x08\x00\x12\x7fabc", "not a libp2p protobuf"),
    ],
)
def test_somebody_elses_file_is_refused_with_a_remedy_and_left_alone(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "swarm.pem"
    path.write_bytes(content)
    with pytest.raises(IdentityError, match=complaint) as refusal:
        load_or_create_identity(path)
    assert str(path) in str(refusal.value)
    assert "backup" in str(refusal.value)
    assert path.read_bytes() == content


def test_a_truncated_file_is_refused(identities: list[Identity], tmp_path: Path) -> None:
    whole = identities[0].path.read_bytes()
    path = tmp_path / "swarm.pem"
    for length in (1, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(IdentityError):
            load_identity(path)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="can't be read"):
        load_or_create_identity(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match=r"no identity file at .*swarm\.pem"):
        load_identity(tmp_path / "swarm.pem")


def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match="can't be read"):
        load_or_create_identity(tmp_path / "file" / "swarm.pem")


def test_a_signature_holds_for_its_data_and_key_only(identities: list[Identity]) -> None:
    one, other = identities[:2]
    signature = one.sign(b"data")
    assert signature_is_valid(one.public_key, signature, b"data")
    assert not signature_is_valid(one.public_key, signature, b"date")
    assert not signature_is_valid(other.public_key, signature, b"data")
    assert not signature_is_valid(b"no key", signature, b"data")


@pytest.mark.parametrize(("bits", "exponent"), [(1024, 65537), (2048, 3)])
def test_a_valid_signature_by_an_odd_key_is_refused(bits: int, exponent: int) -> None:
    key = rsa.generate_private_key(public_exponent=exponent, key_size=bits)
    public_key = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert not signature_is_valid(public_key, key.sign(b"data", padding.PKCS1v15(), hashes.SHA256()), b"data")


def test_the_peer_id_is_a_function_of_the_public_key(identities: list[Identity]) -> None:
    assert [peer_id_of(identity.public_key) for identity in identities] == [item.peer_id for item in identities]
    assert len({identity.peer_id for identity in identities}) == 4


def test_reading_an_identity_needs_neither_hivemind_nor_torch() -> None:
    code = "import sys, rgym_exp.swarm.identity; sys.exit('hivemind' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

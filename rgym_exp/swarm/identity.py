"""Who this node is: the RSA key in ``swarm.pem``, in the format that hivemind and every earlier swarm use.

The file is a libp2p protobuf ``PrivateKey`` (key type, then the key as PKCS#1 DER); the peer id is the base58 text of
the SHA-256 multihash of the protobuf ``PublicKey``. Source: libp2p specs, peer-ids/peer-ids.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import base58
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from rgym_exp.base.files import write_new
from rgym_exp.errors import IdentityError

RSA_BITS = 2048
RSA_EXPONENT = 65537
_KEY_TYPE_RSA = 0
_SHA256_MULTIHASH = b"\x12\x20"
_MAX_FILE_BYTES = 16 * 1024


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A peer's key pair. The private key never leaves the process."""

    path: Path
    peer_id: str
    public_key: bytes
    """SubjectPublicKeyInfo, DER: 294 bytes for the 2048-bit keys that every peer uses."""
    private_key: rsa.RSAPrivateKey = field(repr=False, compare=False)

    def sign(self, data: bytes) -> bytes:
        """RSA PKCS#1 v1.5 with SHA-256: 256 bytes, the same for the same data."""
        return self.private_key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def load_identity(path: Path) -> Identity:
    """Read an identity file.

    Raises:
        IdentityError: there is no such file, it can't be read, or it holds something else. Nothing is overwritten.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise IdentityError(f"There is no identity file at {path}.") from None
    except OSError as error:
        raise IdentityError(
            f"The identity file {path} can't be read ({error.strerror}). Check its owner and permissions."
        ) from error
    key = _parse(path, data)
    public_key = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Identity(path=path, peer_id=peer_id_of(public_key), public_key=public_key, private_key=key)


def load_or_create_identity(path: Path) -> Identity:
    """Read the identity file, or make a new one (mode 0600) where there is none.

    Raises:
        IdentityError: as ``load_identity``, or the folder can't be written.
    """
    if path.exists():
        return load_identity(path)
    key = rsa.generate_private_key(public_exponent=RSA_EXPONENT, key_size=RSA_BITS)
    pkcs1 = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    try:
        write_new(path, _protobuf_key(pkcs1))
    except FileExistsError:
        pass  # another process was quicker; its file is the identity
    except OSError as error:
        raise IdentityError(
            f"No identity file could be written at {path} ({error.strerror}). "
            "Make the folder writable, or name another place with IDENTITY_PATH."
        ) from error
    return load_identity(path)


def peer_id_of(public_key: bytes) -> str:
    """The peer id of a public key given as SubjectPublicKeyInfo DER."""
    return base58.b58encode(_SHA256_MULTIHASH + hashlib.sha256(_protobuf_key(public_key)).digest()).decode()


def signature_is_valid(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the holder of ``public_key`` (DER) signed ``data``. Any other kind of key than ours is a plain no.

    Size and exponent are checked before verifying: an odd exponent would make verification arbitrarily slow.
    """
    try:
        key = serialization.load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm):
        return False
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != RSA_BITS:
        return False
    if key.public_numbers().e != RSA_EXPONENT:
        return False
    try:
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _parse(path: Path, data: bytes) -> rsa.RSAPrivateKey:
    remedy = "Put the right file back from your backup, or move this one away to get a new identity and peer id."
    if not data:
        raise IdentityError(f"The identity file {path} is empty. {remedy}")
    if data.startswith(b"-----BEGIN"):
        raise IdentityError(
            f"The identity file {path} is a PEM text file; a libp2p protobuf private key was expected. {remedy}"
        )
    fields = _protobuf_fields(data) if len(data) <= _MAX_FILE_BYTES else None
    if fields is None:
        raise IdentityError(f"The identity file {path} is not a libp2p protobuf private key. {remedy}")
    key_type, key_der = fields
    if key_type != _KEY_TYPE_RSA:
        raise IdentityError(f"The identity file {path} holds a key of another type than RSA. {remedy}")
    try:
        key = serialization.load_der_private_key(key_der, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise IdentityError(f"The identity file {path} holds a damaged key. {remedy}") from None
    if (
        not isinstance(key, rsa.RSAPrivateKey)
        or key.key_size != RSA_BITS
        or key.public_key().public_numbers().e != RSA_EXPONENT
    ):
        raise IdentityError(f"The identity file {path} does not hold a {RSA_BITS}-bit RSA key. {remedy}")
    return key


def _protobuf_key(key_der: bytes) -> bytes:
    """libp2p's ``PrivateKey`` and ``PublicKey`` messages alike: {1: key type, 2: key bytes}."""
    return b"\x08" + bytes([_KEY_TYPE_RSA]) + b"\x12" + _varint(len(key_der)) + key_der


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _protobuf_fields(data: bytes) -> tuple[int, bytes] | None:
    """(key type, key bytes) of a key message; None if it is anything else."""
    if len(data) < 4 or data[0] != 0x08 or data[1] > 0x7F or data[2] != 0x12:
        return None
    length = shift = 0
    for position in range(3, min(len(data), 8)):
        length |= (data[position] & 0x7F) << shift
        shift += 7
        if not data[position] & 0x80:
            key_der = data[position + 1 :]
            return (data[1], key_der) if len(key_der) == length else None
    return None

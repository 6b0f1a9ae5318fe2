"""Binding a host to a game's clues and answer before the first bet: a Merkle root, and how anybody checks it.

The root is on the contract from the game's start. After the answer is revealed the host tells salt, texts and proofs,
and whoever is in doubt rebuilds every leaf and walks it up to the root. The salt keeps the leaves from being guessed
while the game runs: of an answer there are only a few.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils import keccak

_LEAF, _NODE, _FILLER = b"\x00", b"\x01", b"\x02"
"""First byte of what is hashed, so that neither a node of the tree nor a filler can pass as a leaf."""

MAX_LEAVES = 256


@dataclass(frozen=True, kw_only=True)
class Opening:
    """Everything that was committed to, as it is told after the reveal."""

    salt: bytes
    """[32]"""
    clues: tuple[str, ...]
    choices: tuple[str, ...]
    answer: int
    """Index into the choices."""
    proofs: tuple[tuple[bytes, ...], ...]
    """[clues + 1][depth]: the siblings from each leaf up to the root; the last proof is the answer's."""


def opening_of(*, salt: bytes, clues: Sequence[str], choices: Sequence[str], answer: int) -> tuple[bytes, Opening]:
    """The Merkle root (32 bytes) of a game, and how it is opened one day."""
    levels = _levels([leaf(salt, text) for text in _texts(clues, choices, answer)])
    proofs = []
    for position in range(len(clues) + 1):
        proofs.append(tuple(level[position >> depth ^ 1] for depth, level in enumerate(levels[:-1])))
    opening = Opening(salt=salt, clues=tuple(clues), choices=tuple(choices), answer=answer, proofs=tuple(proofs))
    return levels[-1][0], opening


def is_opened_by(root: bytes, opening: Opening) -> bool:
    """Whether these are the clues, the choices in their order and the answer that ``root`` was made of."""
    texts = _texts(opening.clues, opening.choices, opening.answer)
    depth = (len(texts) - 1).bit_length()
    if len(opening.proofs) != len(texts) or any(len(proof) != depth for proof in opening.proofs):
        return False
    return all(
        _root_from(leaf(opening.salt, text), position, proof) == root
        for position, (text, proof) in enumerate(zip(texts, opening.proofs, strict=True))
    )


def told_opening(opening: Opening) -> dict[str, Any]:
    """The opening as JSON holds it; bytes as 0x-hex."""
    return {
        "salt": _hex(opening.salt),
        "clues": list(opening.clues),
        "choices": list(opening.choices),
        "answer": opening.answer,
        "proofs": [[_hex(sibling) for sibling in proof] for proof in opening.proofs],
    }


def read_opening(told: Mapping[str, Any]) -> Opening:
    """The opening out of a host's words. Raises ValueError for anything that isn't one."""
    try:
        opening = Opening(
            salt=_bytes(told["salt"]),
            clues=tuple(told["clues"]),
            choices=tuple(told["choices"]),
            answer=told["answer"],
            proofs=tuple(tuple(_bytes(sibling) for sibling in proof) for proof in told["proofs"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no opening of a game ({error})") from error
    if not all(isinstance(text, str) for text in (*opening.clues, *opening.choices)):
        raise ValueError("it is no opening of a game (clues and choices are texts)")
    if type(opening.answer) is not int or not 0 <= opening.answer < len(opening.choices):
        raise ValueError("it is no opening of a game (the answer is the number of a choice)")
    return opening


def leaf(salt: bytes, text: str) -> bytes:
    """The leaf of one clue, or of the answer's text: keccak(0x00 ++ salt ++ text)."""
    return keccak(_LEAF + salt + text.encode("utf-8", "surrogatepass"))


def answer_text(choices: Sequence[str], answer: int) -> str:
    """What stands for the answer in the tree: its index with the choices in their order, as JSON.

    The contract knows an answer by its index alone, so the order is committed to as well.
    """
    return json.dumps({"answer": answer, "choices": list(choices)}, sort_keys=True, separators=(",", ":"))


def _texts(clues: Sequence[str], choices: Sequence[str], answer: int) -> list[str]:
    return [*clues, answer_text(choices, answer)]


def _levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The tree from its leaves, filled up to a power of two, to the root."""
    if not 1 <= len(leaves) <= MAX_LEAVES:
        raise ValueError(f"A tree here has 1 to {MAX_LEAVES} leaves, not {len(leaves)}.")
    full = 1 << (len(leaves) - 1).bit_length()
    level = [*leaves, *[keccak(_FILLER)] * (full - len(leaves))]
    levels = [level]
    while len(level) > 1:
        level = [_node(level[left], level[left + 1]) for left in range(0, len(level), 2)]
        levels.append(level)
    return levels


def _root_from(start: bytes, position: int, proof: Sequence[bytes]) -> bytes:
    found = start
    for sibling in proof:
        found = _node(sibling, found) if position & 1 else _node(found, sibling)
        position >>= 1
    return found


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _bytes(text: str) -> bytes:
    value = bytes.fromhex(text.removeprefix("0x"))
    if len(value) != 32:
        raise ValueError("it is no opening of a game (salt and proofs are of 32 bytes)")
    return value


def _node(left: bytes, right: bytes) -> bytes:
    return keccak(_NODE + left + right)

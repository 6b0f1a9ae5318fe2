"""Names for people: three words that stand for a peer id, the same on every machine and in every version."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_LISTS = Path(__file__).parent / "animal_names.json"


@dataclass(frozen=True, kw_only=True)
class _Words:
    adjectives: tuple[str, ...]
    animals: tuple[str, ...]


@cache
def _words() -> _Words:
    lists = json.loads(_LISTS.read_text(encoding="utf-8"))
    return _Words(adjectives=tuple(lists["adjectives"]), animals=tuple(lists["animals"]))


def animal_name(peer_id: str) -> str:
    """Three words such as "toothy carnivorous bison", the ones that the first RL Swarm gave the same peer id.

    There are about nine million names, so two peers may share one. For display, and for the name of a peer's repository
    on the model hub; neither the lists nor the rule may ever change.
    """
    digest = hashlib.md5(peer_id.encode(), usedforsecurity=False).digest()
    words = _words()
    first, second = (words.adjectives[byte % len(words.adjectives)] for byte in (digest[2], digest[1]))
    return f"{first} {second} {words.animals[digest[0] % len(words.animals)]}"

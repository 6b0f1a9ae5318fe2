"""Whether a passphrase keeps out who can try millions of them, as whoever finds an encrypted file can."""

from __future__ import annotations

_SHORTEST = 12
_FEWEST_DIFFERENT = 6
# What is typed without a thought, and tried first.
_RUNS = ("abcdefghijklmnopqrstuvwxyz", "01234567890123456789", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjkl")
_COMMON = ("password", "passphrase", "passwort", "letmein", "swordfish", "iloveyou", "admin", "swarm", "secret")


def weakness_of(passphrase: str) -> str | None:
    """What is wrong with it, as the end of a sentence that begins with "The passphrase"; None for nothing."""
    if not passphrase:
        return "is empty"
    if len(passphrase) < _SHORTEST:
        return f"has {len(passphrase)} of at least {_SHORTEST} characters"
    rest = passphrase.lower()
    for guess in (*_COMMON, *_runs_in(rest)):
        rest = rest.replace(guess, "")
    if len(set(rest)) < _FEWEST_DIFFERENT:
        return "is one of those that are tried first"
    return None


def _runs_in(text: str) -> list[str]:
    """Neighbours in the alphabet, among the digits or on a keyboard, forwards or backwards, of four or more."""
    found = []
    for row in (*_RUNS, *(run[::-1] for run in _RUNS)):
        for length in range(len(row), 3, -1):
            found += [row[at : at + length] for at in range(len(row) - length + 1) if row[at : at + length] in text]
    return found

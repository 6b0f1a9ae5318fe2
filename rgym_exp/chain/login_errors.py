"""How a call of the login server fails: five typed errors.

- ``LoginServerAway``: nothing answers there; no request has a chance now.
- ``LoginServerTrouble``: it answers, but with a failure of its own (its chain is away, say); asking again may help.
- ``NotLoggedIn``: it knows no such user any more, or no key of theirs that still works.
- ``TokenRefused``: it won't hear us: a wrong token, or a host name that it isn't called by.
- ``WriteRefused``: the contract refuses; carries its error's name.

The first four are sentences with a remedy.
"""

from __future__ import annotations

from rgym_exp.chain.coordinator import ChainError, ChainUnavailable


class LoginServerAway(ChainUnavailable):
    """Nothing answers at its address."""

    def __init__(self, sentence: str, *, is_unheard: bool) -> None:
        """``is_unheard``: no connection came about, so nothing of the request reached anybody."""
        super().__init__(sentence)
        self.is_unheard = is_unheard


class LoginServerTrouble(ChainUnavailable):
    """It answers with a failure of its own, or with what no login server says, or not in time."""


class NotLoggedIn(ChainError):
    """It has no such user, or no activated, unexpired key of theirs."""


class TokenRefused(ChainError):
    """It doesn't accept who asks."""


class WriteRefused(Exception):
    """The contract, or the server in its name, refuses. ``name`` is the contract's error's name, or a sentence."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

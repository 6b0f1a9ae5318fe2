"""What can be wrong with a login."""

from __future__ import annotations

from rgym_exp.errors import SwarmUserError


class LoginError(SwarmUserError):
    """The login server can't be had, or nobody logged in. The message says why and what to do."""


class NodeMissing(LoginError):
    """There is no Node.js here that is new enough."""


class DataInUse(LoginError):
    """Another login server, not the wanted one, works with the same data."""

"""What can go wrong with a hub, in sentences."""

from __future__ import annotations

from rgym_exp.errors import SwarmUserError


class HubError(SwarmUserError):
    """The hub could not be started, found or kept; the message says what to do."""

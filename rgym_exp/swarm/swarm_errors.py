"""What can go wrong in the swarm, and what is refused at its border."""

from __future__ import annotations

from rgym_exp.errors import SwarmUserError


class SwarmError(SwarmUserError):
    """The peer-to-peer network can't be started here; the message says why and what to do."""


class IdentityError(SwarmError):
    """The identity file can't be used; the message says why and what to do. The file is left as it is."""


class PeerDataRefused(Exception):
    """Something that a stranger sent is not taken in. Stays in this package: counted by ``reason`` and dropped."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """A short snake_case word, the key under which the drop is counted."""


class AnnouncementRejected(PeerDataRefused):
    """The bytes are not an announcement that its author signed."""


class ShareRejected(PeerDataRefused):
    """The bytes are not a share within the limits."""


class FetchFailed(PeerDataRefused):
    """A peer did not hand over the share that it announced."""

"""What a stranger sent and is not taken in."""

from __future__ import annotations


class PeerDataRefused(Exception):
    """Something that a stranger sent is not taken in. Stays in this package: counted by ``reason`` and dropped."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """A short snake_case word, the key under which the drop is counted."""


class AnnouncementRejected(PeerDataRefused):
    """The bytes are not an announcement that its author signed."""


class OtherVersion(AnnouncementRejected):
    """An announcement of a version that this node doesn't read."""

    def __init__(self, version: int) -> None:
        super().__init__("record_version")
        self.version = version


class ShareRejected(PeerDataRefused):
    """The bytes are not a share within the limits."""


class FetchFailed(PeerDataRefused):
    """A peer did not hand over the share that it announced."""

"""Saying that there are peers of another version, once for each, and what to do about it."""

from __future__ import annotations

import logging

from rgym_exp.types import PROTOCOL

_VERSIONS_TOLD = 4
"""Strangers can make up any number of them."""

logger = logging.getLogger("rl_swarm.swarm")


class VersionsMet:
    """The versions of the announcements that this node met."""

    def __init__(self) -> None:
        self._told: set[int] = set()

    def met(self, version: int) -> None:
        """Take in an announcement of this version."""
        if version == PROTOCOL or version in self._told or len(self._told) >= _VERSIONS_TOLD:
            return
        self._told.add(version)
        logger.warning("%s", other_version(version))


def other_version(version: int) -> str:
    """What to tell a person when a peer speaks another version than ours."""
    if version < PROTOCOL:
        return (
            f"Some peers run an earlier version of RL Swarm (protocol {version}; this node has {PROTOCOL}). Their "
            "answers are used here, but they can't hear this node. Ask them to update."
        )
    return (
        f"Some peers run a later version of RL Swarm (protocol {version}; this node has {PROTOCOL}), which this node "
        "can't hear. Update it."
    )

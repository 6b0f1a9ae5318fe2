"""What can go wrong with tasks that a person can do something about."""

from __future__ import annotations

from rgym_exp.errors import SwarmUserError


class TasksError(SwarmUserError):
    """The tasks file can't be used as written."""


class SandboxError(SwarmUserError):
    """The scoring worker can't be started, so nothing can be scored."""

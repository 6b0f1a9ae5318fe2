"""The errors that a person can do something about."""

from __future__ import annotations


class SwarmUserError(Exception):
    """A failure whose message is a sentence for the person at the keyboard.

    The sentence says what happened, what it means and what to do next. The command line prints it without a
    traceback and exits 1. Anything that isn't one of these is a mistake of ours and is logged with its traceback.
    """


class ConfigError(SwarmUserError):
    """A configuration that can't be run. The message names the file or flag, the key and the allowed values."""


class InviteError(SwarmUserError):
    """A text, file or URL that isn't an invite that can be used. The message says what to ask the host for."""


class TasksError(SwarmUserError):
    """The tasks file can't be used as written."""


class ModelError(SwarmUserError):
    """The model cannot be had or cannot be trained here."""


class SandboxError(SwarmUserError):
    """The scoring worker can't be started, so nothing can be scored."""


class SwarmError(SwarmUserError):
    """The peer-to-peer network can't be started here; the message says why and what to do."""


class IdentityError(SwarmError):
    """The identity file can't be used; the message says why and what to do. The file is left as it is."""


class HubError(SwarmUserError):
    """The hub could not be started, found or kept; the message says what to do."""


class LoginError(SwarmUserError):
    """The login server can't be had, or nobody logged in. The message says why and what to do."""


class NodeMissing(LoginError):
    """There is no Node.js here that is new enough."""


class DataInUse(LoginError):
    """Another login server, not the wanted one, works with the same data."""

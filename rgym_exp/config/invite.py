"""Invites: what a host hands to joiners, one line of text that says all a node needs to reach the swarm.

``rlswarm1:`` + base64url(zlib(compact JSON)). An invite comes from a stranger: it is size-capped before it is
unpacked, every field is checked, and it can name neither code, nor files, nor anything outside ``NetworkConfig``.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rgym_exp.base.called import as_called
from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.config.invite_source import fetch_invite
from rgym_exp.config.schema import NetworkConfig
from rgym_exp.config.validate import is_address, is_bootnode, is_http_url
from rgym_exp.errors import InviteError
from rgym_exp.types import PROTOCOL

PREFIX = "rlswarm1:"
MAX_PACKED = 16 * 1024
MAX_UNPACKED = 64 * 1024
MAX_BOOTNODES = 64
MAX_CAPABILITIES = 16
HUB_CAPABILITIES: Mapping[str, str] = {
    "round-wait": "a new round is told when a node asks the next time, and not at once",
    "judge-batches": "the judge is asked one question at a time",
    "share-via": "nodes behind routers may hear nobody, for it passes no shares on",
    "dial-back": "a node isn't told whether others can reach it",
}
"""What a hub of this version can do beyond those of protocol 1, by the short names in its invite -> what it means for
nodes where a hub can't."""

_SWARM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:-]{0,99}")
_CAPABILITY = re.compile(r"[a-z0-9-]{1,32}")
_TASKS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# "auto", a bundled model's name or owner/name on a model hub: never a path.
_MODEL = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")


@dataclass(frozen=True, kw_only=True)
class Invite:
    """What a joiner must know of a swarm."""

    swarm_id: str
    tasks: str
    """A name in ``config/tasks/``; never a path, since it comes from somebody else."""
    model_name: str
    """The host's suggestion; "auto" leaves it to the hardware."""
    hub_url: str | None
    chain_id: int | None
    """None, like the addresses, for a swarm without a chain."""
    rpc_url: str | None
    coordinator_address: str | None
    prg_address: str | None = None
    judge_url: str | None = None
    bootnodes: tuple[str, ...]
    expires: float | None = None
    """Seconds since the epoch after which the host doesn't want it used; None for no end."""
    protocol: int = 1
    """What the host's version speaks (``types.PROTOCOL``). The first one didn't say."""
    capabilities: tuple[str, ...] = ()
    """What the hub can do besides, by short names; unknown ones mean nothing."""

    def encode(self) -> str:
        """One line without spaces that ``read_invite`` understands."""
        content = {key: value for key, value in asdict(self).items() if value is not None}
        packed = zlib.compress(json.dumps(content, separators=(",", ":"), sort_keys=True).encode(), 9)
        return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")

    def network(self) -> NetworkConfig:
        """The network that this invite describes; a swarm without a contract runs on a local clock."""
        return NetworkConfig(
            name="invite",
            swarm_id=self.swarm_id,
            tasks=self.tasks,
            model_name=self.model_name,
            hub=False,
            hub_url=self.hub_url,
            coordinator="wallet" if self.coordinator_address else "offline",
            chain_id=self.chain_id,
            rpc_url=self.rpc_url,
            coordinator_address=self.coordinator_address,
            prg_address=self.prg_address,
            judge_url=self.judge_url,
            bootnodes=list(self.bootnodes),
        )


def note_on_version(invite: Invite) -> str | None:
    """What to tell a joiner when the host's version speaks another protocol than this one, or its hub can't do all that
    nodes of this version make use of; None when all is as here."""
    if invite.protocol == PROTOCOL:
        lacking = [meaning for name, meaning in HUB_CAPABILITIES.items() if name not in invite.capabilities]
        if not lacking:
            return None
        return (
            f"The hub of {invite.swarm_id} is of another version, which can't do all that this one makes use of: "
            f"{'; '.join(lacking)}. Ask the host to update."
        )
    if invite.protocol < PROTOCOL:
        return (
            f"The host of {invite.swarm_id} runs an earlier version of RL Swarm (protocol {invite.protocol}; this one "
            f"has {PROTOCOL}): its peers are heard here, but can't hear this node. Ask the host to update."
        )
    return (
        f"The host of {invite.swarm_id} runs a later version of RL Swarm (protocol {invite.protocol}; this one has "
        f"{PROTOCOL}): this node may hear nobody there. Update it."
    )


def read_invite(text: str) -> Invite:
    """Read an invite from the line itself, from a file that holds it, or from an http(s) address (a hub's will do).

    Raises:
        InviteError: what is wrong with it, and what to ask the host for.
    """
    line = "".join(text.split())  # A terminal may have wrapped the line on its way here.
    if not line.startswith(PREFIX):
        line = "".join(fetch_invite(text.strip()).split())
    if not line.startswith(PREFIX):
        raise InviteError(
            f"{_short(text)} holds no invite: an invite is one line that starts with {PREFIX}. Ask the host to run"
            f" `{as_called('invite')}` and send you the whole line."
        )
    invite = _checked(_unpack(line))
    if invite.expires is not None and invite.expires < time.time():
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(invite.expires))
        raise InviteError(f"This invite to {invite.swarm_id} expired on {when}. Ask the host for a new one.")
    return invite


def _unpack(line: str) -> dict[str, Any]:
    body = line[len(PREFIX) :]
    damaged = InviteError("The invite is damaged or not complete. Copy the whole line, or ask the host for it again.")
    if len(body) > MAX_PACKED:
        raise InviteError(f"The invite is {len(body)} characters long and can't be one: at most {MAX_PACKED}.")
    try:
        packed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(packed, MAX_UNPACKED)
        if not unpacker.eof:  # Cut off, or unpacks to more than any invite needs.
            raise damaged
        found = shallow_json(content)
    except (binascii.Error, zlib.error, ValueError):
        raise damaged from None
    if not isinstance(found, dict):
        raise damaged
    return found


def _checked(content: dict[str, Any]) -> Invite:
    # Keys that a newer host adds are no reason to stay out.
    known: dict[str, Any] = {field.name: content.get(field.name) for field in fields(Invite)}
    bootnodes = known["bootnodes"] if isinstance(known["bootnodes"], list) else []
    chain_id, expires = known["chain_id"], known["expires"]
    protocol = known["protocol"] = 1 if known["protocol"] is None else known["protocol"]
    capabilities = known["capabilities"] = known["capabilities"] or []
    whole = isinstance(chain_id, int) and not isinstance(chain_id, bool) and 0 < chain_id < 2**64
    checks = {
        "swarm_id": _matches(_SWARM_ID, known["swarm_id"]),
        "tasks": _matches(_TASKS, known["tasks"]),
        "model_name": _matches(_MODEL, known["model_name"]),
        "chain_id": chain_id is None or whole,
        "bootnodes": len(bootnodes) <= MAX_BOOTNODES and all(isinstance(b, str) and is_bootnode(b) for b in bootnodes),
        "protocol": isinstance(protocol, int) and not isinstance(protocol, bool) and 0 < protocol < 2**15,
        "capabilities": isinstance(capabilities, list)
        and len(capabilities) <= MAX_CAPABILITIES
        and all(_matches(_CAPABILITY, each) for each in capabilities),
        "expires": expires is None or (isinstance(expires, (int, float)) and 0 < expires < 1e11),
    }
    for name in ("hub_url", "rpc_url", "judge_url"):
        checks[name] = known[name] is None or (isinstance(known[name], str) and is_http_url(known[name]))
    for name in ("coordinator_address", "prg_address"):
        checks[name] = known[name] is None or (isinstance(known[name], str) and is_address(known[name]))
    texts = [*bootnodes, *(value for value in known.values() if isinstance(value, str))]
    if any("${" in text for text in texts if isinstance(text, str)):
        # In a configuration this would be a reference, and could fetch the joiner's environment variables.
        raise InviteError("The invite holds a reference (${...}), which no honest invite does. Don't use it.")
    if known["coordinator_address"] and not known["rpc_url"]:
        checks["rpc_url"] = False
    if wrong := [name for name, good in checks.items() if not good]:
        raise InviteError(f"The invite has no usable {', '.join(wrong)}. Ask the host for a new one.")
    return Invite(**{**known, "bootnodes": tuple(bootnodes), "capabilities": tuple(capabilities)})


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and bool(pattern.fullmatch(value))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")

"""Which peer ids that strangers wrote somewhere can be kept and shown."""

from __future__ import annotations

import re
from typing import TypeGuard

# The contract takes any bytes as a peer id. libp2p's are base58; a few more characters are harmless everywhere that an
# id may be shown or quoted.
_PEER_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def is_peer_id(text: object) -> TypeGuard[str]:
    """Whether this is text that can stand for a peer."""
    return isinstance(text, str) and _PEER_ID.fullmatch(text) is not None

"""How rows of the outbox reach the contract, and how that may fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from rgym_exp.chain.outbox_rows import Row

Outcome = Literal["pending", "confirmed", "void"]
Record = Callable[[str | None, int | None, bytes | None], None]
"""Called with hash, nonce and signed bytes before the bytes leave, so that no crash can make us forget them; with None
for what only another program, which sends in our place, will know."""


class Retry(Exception):
    """This row not now. The message is a sentence; ``counted`` says whether giving up comes nearer."""

    def __init__(self, reason: str, *, counted: bool) -> None:
        super().__init__(reason)
        self.counted = counted


class Absent(Exception):
    """The chain can't be reached, so no row has a chance now. The message is a sentence; ``unsent`` says that nothing
    of the row left, whatever was recorded of it before."""

    def __init__(self, reason: str, *, unsent: bool = False) -> None:
        super().__init__(reason)
        self.unsent = unsent


class TransactionRefused(Exception):
    """The contract refuses. The message is its error's name, or what it said when that has no name."""

    @property
    def name(self) -> str:
        return str(self)


class ChainViews(Protocol):
    """What the chain says about itself and about rows. Every method raises as ``Sender``'s do."""

    def newest_block(self) -> tuple[int, str]:
        """Its number and hash."""
        ...

    def block_hash(self, number: int) -> str | None:
        """The hash of the block with this number; None where the chain doesn't keep it (any more)."""
        ...

    def round(self) -> int:
        """The contract's."""
        ...

    def has(self, row: Row) -> bool | None:
        """Whether the contract shows what the row is for; None where it is too old to be asked."""
        ...


class Sender(Protocol):
    """How rows reach the contract: with a key of our own, or through a login server. Called from one thread only."""

    account: str
    way_to_owner: str
    """What to do about a peer that another account registered, after "either": how its user gets at that account."""

    @property
    def views(self) -> ChainViews:
        """What the chain shows."""
        ...

    def send(self, row: Row, record: Record) -> str:
        """Send the row and return its hash. Where the hash is known before sending, ``record`` is called first.

        Raises TransactionRefused when the contract wouldn't take it (nothing of it is on the chain), Retry when it
        may later, Absent when there is no chain."""
        ...

    def outcome(self, row: Row) -> Outcome:
        """What became of a sent row; "void" when the chain will never execute what was sent. Raises like ``send``."""
        ...

    def registered_to(self, peer_id: str) -> str | None:
        """The account that registered the peer; None when nobody has. Raises Retry or Absent."""
        ...

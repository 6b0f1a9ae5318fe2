"""What the chain says about itself and about the outbox's rows, in views of the contracts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hexbytes import HexBytes
from web3.exceptions import BlockNotFound
from web3.types import BlockIdentifier, BlockNumber

from rgym_exp.chain.contract import Reverted, SwarmContract
from rgym_exp.chain.contract_market import Markets
from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.outbox_rows import Row
from rgym_exp.chain.sender import Absent, Retry


class ContractViews:
    """A ``ChainViews`` of one SwarmCoordinator and the markets that rows name."""

    def __init__(self, contract: SwarmContract, markets: Markets) -> None:
        self._contract = contract
        self._markets = markets

    def newest_block(self) -> tuple[int, str]:
        """See ``ChainViews``."""
        block = self._block("latest")
        if block is None:
            raise Absent(f"{self._contract.rpc_url} has no newest block.")
        return block

    def block_hash(self, number: int) -> str | None:
        """See ``ChainViews``."""
        block = self._block(BlockNumber(number))
        return block[1] if block is not None else None

    def round(self) -> int:
        """See ``ChainViews``."""
        with chain_failures_for_outbox():
            return int(self._contract.read("currentRound"))

    def registered_to(self, peer_id: str) -> str | None:
        """The account that registered the peer; None when nobody has. Raises Absent."""
        with chain_failures_for_outbox():
            return self._contract.registered_to(peer_id)

    def has(self, row: Row) -> bool | None:
        """See ``ChainViews``. Of a registration: whether anybody has registered the peer."""
        if row.kind == "register":
            return self.registered_to(row.peer_id) is not None
        if row.contract:
            with chain_failures_for_outbox():
                try:
                    return self._markets.is_taken(row)
                except Retry:
                    return None  # There is no market at its address (any more).
        functions = self._contract.contract.functions
        if row.kind == "reward":
            look = functions.hasSubmittedRoundStageReward(row.round, row.stage, row.peer_id)
        else:
            look = functions.getVoterVotes(row.round, row.peer_id)
        with chain_failures_for_outbox():
            try:
                return bool(self._contract.ask(look.call))
            except Reverted:
                return None  # A contract of an older version asks differently.

    def _block(self, which: BlockIdentifier) -> tuple[int, str] | None:
        def look() -> tuple[int, str] | None:
            try:
                block = self._contract.web3.eth.get_block(which)
            except BlockNotFound:
                return None
            return int(block["number"]), HexBytes(block["hash"]).to_0x_hex()

        with chain_failures_for_outbox():
            return self._contract.ask(look)


@contextmanager
def chain_failures_for_outbox() -> Iterator[None]:
    """A chain that can't be asked is Absent."""
    try:
        yield
    except ChainError as error:
        raise Absent(str(error)) from error

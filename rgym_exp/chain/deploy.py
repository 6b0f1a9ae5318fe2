"""What a host does to the contract: deploy it, list bootnodes, advance the round."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount

from rgym_exp.chain.contract import Reverted, SwarmContract, artifact
from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.transactions import Transactor

logger = logging.getLogger("rl_swarm.chain")

STAGES_PER_ROUND = 1
_NOWHERE = "0x" + 40 * "0"


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A SwarmCoordinator that is there and obeys the owner."""

    address: str
    chain_id: int
    is_new: bool
    """False when a recorded contract was found again."""


def deploy_coordinator(rpc_url: str, owner: LocalAccount, recorded: str | None = None) -> Deployment:
    """The contract at ``recorded`` when there is one, else a new one whose three roles belong to ``owner``.

    Raises ChainUnavailable; ChainError when ``recorded`` holds a contract that ``owner`` doesn't manage, or when
    deploying fails.
    """
    if recorded is not None:
        found = SwarmContract(rpc_url, recorded)
        if _has_code(found):
            OwnerClient(rpc_url, recorded, owner).require_roles()
            return Deployment(address=found.address, chain_id=found.chain_id, is_new=False)
        logger.warning("There is no contract at %s on this chain any more; deploying a new one.", recorded)

    blank = SwarmContract(rpc_url, _NOWHERE)
    factory = blank.web3.eth.contract(abi=artifact()["abi"], bytecode=artifact()["bytecode"])
    try:
        receipt = Transactor(blank, owner).execute(factory.constructor(STAGES_PER_ROUND))
        address = str(receipt["contractAddress"])
        made = SwarmContract(rpc_url, address)
        Transactor(made, owner).execute(made.contract.functions.initialize(owner.address))
    except Reverted as refusal:
        raise ChainError(f"The contract couldn't be deployed through {rpc_url}: {refusal.name}.") from refusal
    logger.info("SwarmCoordinator deployed at %s on chain %d", address, made.chain_id)
    return Deployment(address=address, chain_id=made.chain_id, is_new=True)


class OwnerClient:
    """The contract in the hands of its stage and bootnode manager. Each method waits until its change is on chain.

    Raises ChainUnavailable when the chain is away, ChainError when the contract refuses.
    """

    def __init__(self, rpc_url: str, address: str, owner: LocalAccount, *, chain_id: int | None = None) -> None:
        self._contract = SwarmContract(rpc_url, address, chain_id=chain_id)
        self._transactor = Transactor(self._contract, owner)
        self._owner = owner
        # One nonce at a time, whoever calls.
        self._one_at_a_time = threading.Lock()

    @property
    def address(self) -> str:
        return self._contract.address

    def round_and_stage(self) -> tuple[int, int]:
        return self._contract.round_and_stage()

    def advance_round(self) -> tuple[int, int]:
        """Move on to the next round (or stage); returns what it is now."""
        self._execute("updateStageAndRound", lambda functions: functions.updateStageAndRound())
        return self.round_and_stage()

    def bootnodes(self) -> list[str]:
        return self._contract.bootnodes()

    def set_bootnodes(self, bootnodes: Sequence[str]) -> None:
        """Make the contract's list exactly this one. Costs nothing when it is already."""
        listed = self.bootnodes()
        wanted = list(bootnodes)
        if listed == wanted:
            return
        if listed:
            self._execute("clearBootnodes", lambda functions: functions.clearBootnodes())
        if wanted:
            self._execute("addBootnodes", lambda functions: functions.addBootnodes(wanted))

    def require_roles(self) -> None:
        """Raise ChainError unless the owner may advance rounds and list bootnodes."""
        for role in ("STAGE_MANAGER_ROLE", "BOOTNODE_MANAGER_ROLE"):
            if not self._contract.read("hasRole", self._contract.read(role), self._owner.address):
                raise ChainError(
                    f"Account {self._owner.address} has no {role} of the contract {self.address}. Use the owner key "
                    "with which it was deployed, have its owner grant the role, or deploy a new contract."
                )

    def _execute(self, title: str, call: Callable[[Any], Any]) -> None:
        with self._one_at_a_time:
            try:
                self._transactor.execute(call(self._contract.contract.functions))
            except Reverted as refusal:
                raise ChainError(
                    f"The contract {self.address} refuses {title} of account {self._owner.address}: {refusal.name}."
                ) from refusal


def _has_code(contract: SwarmContract) -> bool:
    return len(contract.ask(lambda: contract.web3.eth.get_code(contract.address))) > 0

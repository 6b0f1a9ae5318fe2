"""What a host does to the contracts: deploy them, list bootnodes, advance the round, run games."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from web3.logs import DISCARD
from web3.types import TxReceipt

from rgym_exp.chain.contract import DeployedContract, Reverted, SwarmContract, artifact
from rgym_exp.chain.coordinator import ChainError, ChainUnavailable
from rgym_exp.chain.market import GameStatus
from rgym_exp.chain.market_contract import MarketContract
from rgym_exp.chain.transactions import Transactor

logger = logging.getLogger("rl_swarm.chain")

STAGES_PER_ROUND = 1
_NOWHERE = "0x" + 40 * "0"


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A contract that is there and obeys the owner."""

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

    address = _deployed(SwarmContract(rpc_url, _NOWHERE), owner, STAGES_PER_ROUND)
    made = SwarmContract(rpc_url, address)
    try:
        Transactor(made, owner).execute(made.contract.functions.initialize(owner.address))
    except Reverted as refusal:
        raise ChainError(f"The contract at {address} couldn't be initialised: {refusal.name}.") from refusal
    return Deployment(address=address, chain_id=made.chain_id, is_new=True)


def deploy_market(
    rpc_url: str, owner: LocalAccount, coordinator_address: str, recorded: str | None = None
) -> Deployment:
    """The market at ``recorded`` when it is ``owner``'s and asks this coordinator, else a new one.

    Raises ChainUnavailable; ChainError when deploying fails.
    """
    if recorded is not None:
        found = MarketContract(rpc_url, recorded)
        reason = _why_not(found, owner, coordinator_address)
        if reason is None:
            return Deployment(address=found.address, chain_id=found.chain_id, is_new=False)
        logger.warning("The recorded market isn't used: %s Deploying a new one.", reason)
    blank = MarketContract(rpc_url, _NOWHERE)
    address = _deployed(blank, owner, coordinator_address, owner.address)
    return Deployment(address=address, chain_id=blank.chain_id, is_new=True)


class _OwnedContract:
    """A contract in its owner's hands. The owner sends one transaction at a time, whichever contract it is for: two at
    once would take the same nonce. So clients of one account share a lock."""

    def __init__(self, contract: DeployedContract, owner: LocalAccount, one_at_a_time: threading.Lock) -> None:
        self.one_at_a_time = one_at_a_time
        self._deployed = contract
        self._transactor = Transactor(contract, owner)
        self._owner = owner

    @property
    def address(self) -> str:
        return self._deployed.address

    def _execute(self, function: str, *arguments: Any) -> TxReceipt:
        with self.one_at_a_time:
            try:
                return self._transactor.execute(self._deployed.contract.functions[function](*arguments))
            except Reverted as refusal:
                raise ChainError(
                    f"The contract {self.address} refuses {function} of account {self._owner.address}: {refusal.name}."
                ) from refusal


class OwnerClient(_OwnedContract):
    """The coordinator in the hands of its stage and bootnode manager. Each method waits until its change is on chain.

    Raises ChainUnavailable when the chain is away, ChainError when the contract refuses.
    """

    def __init__(
        self,
        rpc_url: str,
        address: str,
        owner: LocalAccount,
        *,
        chain_id: int | None = None,
        one_at_a_time: threading.Lock | None = None,
    ) -> None:
        """``one_at_a_time``: another client's of the same account; None makes one, for others to share."""
        self._contract = SwarmContract(rpc_url, address, chain_id=chain_id)
        super().__init__(self._contract, owner, one_at_a_time or threading.Lock())

    def round_and_stage(self) -> tuple[int, int]:
        return self._contract.round_and_stage()

    def advance_round(self) -> tuple[int, int]:
        """Move on to the next round (or stage); returns what it is now."""
        self._execute("updateStageAndRound")
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
            self._execute("clearBootnodes")
        if wanted:
            self._execute("addBootnodes", wanted)

    def require_roles(self) -> None:
        """Raise ChainError unless the owner may advance rounds and list bootnodes."""
        for role in ("STAGE_MANAGER_ROLE", "BOOTNODE_MANAGER_ROLE"):
            if not self._contract.read("hasRole", self._contract.read(role), self._owner.address):
                raise ChainError(
                    f"Account {self._owner.address} has no {role} of the contract {self.address}. Use the owner key "
                    "with which it was deployed, have its owner grant the role, or deploy a new contract."
                )


class MarketOwner(_OwnedContract):
    """The market in the hands of who runs its games. Each method waits until its change is on chain.

    Raises ChainUnavailable when the chain is away (then the change may still come: ask before repeating it),
    ChainError when the contract refuses.
    """

    def __init__(
        self,
        rpc_url: str,
        address: str,
        owner: LocalAccount,
        *,
        chain_id: int | None = None,
        one_at_a_time: threading.Lock,
    ) -> None:
        """``one_at_a_time``: the OwnerClient's, which uses the same account."""
        self._contract = MarketContract(rpc_url, address, chain_id=chain_id)
        super().__init__(self._contract, owner, one_at_a_time)

    def create_game(self, round_count: int, choice_count: int, merkle_root: bytes) -> int:
        """Begin a game in round 0; its number. ``merkle_root``: 32 bytes."""
        receipt = self._execute("createNewGame", round_count, choice_count, merkle_root)
        created = self._contract.contract.events.NewGameCreated().process_receipt(receipt, errors=DISCARD)
        return int(created[0]["args"]["game"])

    def increment_round(self, game: int) -> None:
        """The next clue is out."""
        self._execute("incrementRound", game)

    def reveal(self, game: int, correct_choice: int, job_id: int = 0) -> None:
        """Tell the answer; winners may claim."""
        self._execute("revealAnswer", game, correct_choice, job_id)

    def cancel(self, game: int) -> None:
        """End an open game without an answer; everybody may claim a refund."""
        self._execute("cancelGame", game)

    def status(self, game: int) -> GameStatus:
        return self._contract.status(game)

    def current_round(self, game: int) -> int:
        return self._contract.current_round(game)

    def game_count(self) -> int:
        return self._contract.game_count()


def _deployed(blank: DeployedContract, owner: LocalAccount, *arguments: Any) -> str:
    """A new contract's address. ``blank`` says which one, and on which chain."""
    compiled = artifact(blank.name)
    factory = blank.web3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"])
    try:
        receipt = Transactor(blank, owner).execute(factory.constructor(*arguments))
    except Reverted as refusal:
        raise ChainError(f"The {blank.name} couldn't be deployed through {blank.rpc_url}: {refusal.name}.") from refusal
    address = str(receipt["contractAddress"])
    logger.info("%s deployed at %s on chain %d", blank.name, address, blank.chain_id)
    return address


def _why_not(market: MarketContract, owner: LocalAccount, coordinator_address: str) -> str | None:
    """Why a recorded market is of no use, in a sentence; None when it is."""
    if not _has_code(market):
        return f"There is no contract at {market.address} on this chain any more."
    try:
        its_owner, its_coordinator = market.owner(), market.coordinator()
    except ChainUnavailable:
        raise
    except ChainError as error:
        return str(error)
    if its_owner.lower() != owner.address.lower():
        return f"The market {market.address} obeys {its_owner}, not {owner.address}."
    if its_coordinator.lower() != coordinator_address.lower():
        return f"The market {market.address} belongs to the swarm of {its_coordinator}, not {coordinator_address}."
    return None


def _has_code(contract: DeployedContract) -> bool:
    return len(contract.ask(lambda: contract.web3.eth.get_code(contract.address))) > 0

"""A chain that was set back: what the outbox calls confirmed is on the contract again in the end."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eth_account import Account
from web3.types import RPCEndpoint

from rgym_exp.base.ports import free_port
from rgym_exp.chain import saved_state
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.coordinator import PeerTotals
from rgym_exp.chain.deploy import OwnerClient, deploy_coordinator
from rgym_exp.chain.devnet import Devnet
from rgym_exp.chain.rpc import connect
from rgym_exp.chain.wallet import WalletCoordinator
from tests.unit.chain.conftest import QUICK, Person

WaitUntil = Callable[..., None]


class Host:
    """A chain whose folder can be backed up and restored, as a host would do it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "chain"
        self.backup = folder / "backup"
        self._nodes = folder
        self._port = free_port()
        self._key = folder / "owner.key"
        self.devnet = self.start()
        self.address = deploy_coordinator(self.devnet.rpc_url, self.devnet.owner).address
        self.made: list[WalletCoordinator] = []
        self.account = Account.create()

    def start(self) -> Devnet:
        return Devnet.start(self.folder, port=self._port, owner_key_file=self._key)

    @property
    def contract(self) -> SwarmContract:
        return SwarmContract(self.devnet.rpc_url, self.address)

    @property
    def state(self) -> Path:
        return self.folder / "chain.json"

    def advance(self, rounds: int = 1) -> None:
        owner = OwnerClient(self.devnet.rpc_url, self.address, self.devnet.owner)
        for _ in range(rounds):
            owner.advance_round()

    def node(self, name: str = "node") -> WalletCoordinator:
        node = WalletCoordinator(
            rpc_url=self.devnet.rpc_url,
            contract_address=self.address,
            chain_id=self.devnet.chain_id,
            account=self.account,
            outbox_path=self._nodes / f"{name}.sqlite",
            lock_folder=self._nodes / "locks",
            retry_policy=QUICK,
        )
        self.made.append(node)
        return node

    def back_up(self) -> None:
        """A copy of the folder, with all that has happened so far."""
        self.devnet.stop()
        shutil.copytree(self.folder, self.backup)
        self.devnet = self.start()

    def restore(self) -> None:
        """The folder as it was backed up, in the place of what there is now."""
        self.devnet.stop()
        shutil.rmtree(self.folder)
        shutil.copytree(self.backup, self.folder)
        self.devnet = self.start()

    def has_reward(self, round: int, peer_id: str = "QmA") -> bool:
        return bool(self.contract.contract.functions.hasSubmittedRoundStageReward(round, 0, peer_id).call())

    def end(self) -> None:
        for node in self.made:
            node.close()
        self.devnet.stop()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    running = Host(tmp_path)
    yield running
    running.end()


def report(node: WalletCoordinator, round: int, reward: int = 1) -> None:
    node.submit_reward(round=round, stage=0, reward=reward, peer_id="QmA")
    node.submit_winners(round=round, winners=["QmB"], peer_id="QmA")


def play(host: Host, node: WalletCoordinator, rounds: int, wait_until: WaitUntil) -> None:
    """So many rounds, each settled before the next begins."""
    for _ in range(rounds):
        report(node, host.contract.round_and_stage()[0])
        wait_until(lambda: node.pending() == 0)
        host.advance()


def test_a_hub_restored_from_a_backup_gets_everything_back_that_it_can_take(
    host: Host, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    node = host.node()
    node.register("QmA")
    play(host, node, 2, wait_until)
    host.back_up()
    play(host, node, 4, wait_until)
    assert host.contract.round_and_stage() == (6, 0)
    host.restore()
    assert host.contract.round_and_stage() == (2, 0) and not host.has_reward(2)
    # The node plays on from where the chain is, and says nothing new: its reward of round 2 is in the outbox already.
    report(node, 2)
    wait_until(lambda: host.has_reward(2))
    for round in range(2, 6):
        assert not host.has_reward(round + 1)
        host.advance()
        wait_until(lambda round=round: round == 5 or host.has_reward(round + 1))
    wait_until(lambda: node.pending() == 0)
    assert node.peer_totals("QmA") == PeerTotals(registered_to=node.account, total_reward=6, total_wins=0)
    assert node.peer_totals("QmB").total_wins == 6
    assert all(row.status == "confirmed" for row in node.transactions(50))
    assert len([each for each in caplog.messages if "was set back" in each]) == 1


def test_a_node_that_was_away_meanwhile_notices_at_its_next_start(host: Host, wait_until: WaitUntil) -> None:
    node = host.node()
    node.register("QmA")
    play(host, node, 1, wait_until)
    host.back_up()
    play(host, node, 3, wait_until)
    node.close()
    host.restore()
    again = host.node()
    again.register("QmA")
    wait_until(lambda: host.has_reward(1))
    again.close()
    # What is of rounds that the chain isn't at yet is held back, not given up, in the run after that too.
    last = host.node()
    last.register("QmA")
    wait_until(lambda: last.pending() == 4)
    host.advance(3)
    wait_until(lambda: last.pending() == 0)
    assert last.peer_totals("QmA").total_reward == 4


def test_a_chain_killed_after_a_checkpoint_gets_the_lost_seconds_back(host: Host, wait_until: WaitUntil) -> None:
    node = host.node()
    node.register("QmA")
    play(host, node, 1, wait_until)
    saved = host.state.stat().st_mtime_ns if host.state.exists() else 0
    wait_until(lambda: host.state.exists() and host.state.stat().st_mtime_ns > saved)
    report(node, 1)
    wait_until(lambda: node.pending() == 0)
    before = host.devnet.process_id
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: host.devnet.process_id != before and host.devnet.trouble is None)
    assert not host.has_reward(1), "nothing younger than the state file is on the chain"
    assert [row.status for row in node.transactions(50) if row.round == 1] == ["confirmed", "confirmed"]
    report(node, 1)
    wait_until(lambda: host.has_reward(1) and node.pending() == 0)
    assert node.peer_totals("QmA").total_reward == 2


def test_half_a_state_file_costs_no_reward_either(host: Host, wait_until: WaitUntil) -> None:
    node = host.node()
    node.register("QmA")
    play(host, node, 1, wait_until)
    host.devnet.stop()
    saved_state.back_up(host.state)
    host.devnet = host.start()
    play(host, node, 2, wait_until)
    host.devnet.stop()
    host.state.write_bytes(host.state.read_bytes()[: host.state.stat().st_size // 2])
    host.devnet = host.start()
    report(node, 1)
    wait_until(lambda: host.has_reward(1))
    host.advance(2)
    wait_until(lambda: host.has_reward(2) and node.pending() == 0)
    assert node.peer_totals("QmA").total_reward == 3


def test_what_was_signed_for_a_past_that_is_gone_is_signed_anew(host: Host, wait_until: WaitUntil) -> None:
    """Its number is far above the account's on the restored chain, where it would wait for ever, and all others behind
    it."""
    node = host.node()
    node.register("QmA")
    wait_until(lambda: node.pending() == 0)
    host.advance(6)
    host.back_up()
    for round in range(4):
        report(node, round)
    wait_until(lambda: node.pending() == 0)
    connect(host.devnet.rpc_url).provider.make_request(RPCEndpoint("evm_setAutomine"), [False])
    report(node, 4)
    wait_until(lambda: any(row.round == 4 and row.status == "sent" for row in node.transactions(50)))
    host.restore()
    report(node, 5)
    wait_until(lambda: node.pending() == 0 and all(host.has_reward(round) for round in range(6)))
    assert node.peer_totals("QmA").total_reward == 6


def test_a_chain_that_was_only_away_costs_no_second_transaction(host: Host, wait_until: WaitUntil) -> None:
    node = host.node()
    node.register("QmA")
    play(host, node, 3, wait_until)
    made = Person(host.contract, host.account).transactions_made()
    host.devnet.stop()
    host.devnet = host.start()
    report(node, 3)
    wait_until(lambda: node.pending() == 0)
    again = host.node()
    again.register("QmA")
    wait_until(lambda: again.pending() == 0)
    assert Person(host.contract, host.account).transactions_made() == made + 2

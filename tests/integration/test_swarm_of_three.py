"""A hub and three nodes, each a process of its own, on a chain of their own: what the whole system is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.contract_coordinator import read_peer_totals
from rgym_exp.config.invite import Invite
from rgym_exp.types import RoundReport
from tests.support.processes import HubProgram, NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

NAMES = ("ada", "bea", "cem")


class SwarmOfThree:
    """The running swarm. A test may end or kill a node: ``node`` starts it again."""

    def __init__(self, folder: Path, model: Path, life: ExitStack) -> None:
        self._folder, self._model, self._life = folder, model, life
        self.hub = life.enter_context(HubProgram(folder / "hub", "--round-minimum", "0.5", "--round-limit", "30"))
        self.invite: Invite = self.hub.invite()
        self._nodes = {name: self._start(name) for name in NAMES}
        self.contract = SwarmContract(
            self.invite.rpc_url or "", self.invite.coordinator_address or "", chain_id=self.invite.chain_id
        )

    def _start(self, name: str) -> NodeProgram:
        return self._life.enter_context(NodeProgram(self._folder / name, self._model, invite=self.invite))

    def node(self, name: str) -> NodeProgram:
        """The node, started (again) if it doesn't run."""
        if self._nodes[name].status is not None:
            self._nodes[name] = self._start(name)
        return self._nodes[name]

    def nodes(self) -> list[NodeProgram]:
        """All three, running."""
        return [self.node(name) for name in NAMES]

    def others(self, node: NodeProgram) -> set[str]:
        """The peer ids of the two others."""
        return {other.peer_id for other in self.nodes()} - {node.peer_id}


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Iterator[SwarmOfThree]:
    with ExitStack() as life:
        yield SwarmOfThree(tmp_path_factory.mktemp("three"), tiny_model_folder, life)


@pytest.mark.parametrize("name", NAMES)
def test_a_node_trains_on_groups_of_both_others(swarm: SwarmOfThree, name: str) -> None:
    node = swarm.node(name)
    wait_for(
        lambda: met(node) == swarm.others(node),
        what=f"groups of both others in the rounds of {node.name}",
        programs=(*swarm.nodes(), swarm.hub),
    )
    together = [report for report in node.reports() if report.external_groups]
    # The batch always has the same shape, and nobody's groups crowd out one's own.
    assert {report.local_groups + report.external_groups for report in node.reports()} == {4}
    assert all(report.local_groups >= 2 for report in together)
    assert all(report.external_reward is not None and 0 < report.external_reward < 1 for report in together)
    assert all(report.dropped == {} for report in together)


@pytest.mark.parametrize("name", NAMES)
def test_a_node_is_registered_rewarded_and_has_voted_on_the_contract(swarm: SwarmOfThree, name: str) -> None:
    node = swarm.node(name)
    wait_for(
        lambda: int(swarm.contract.read("getVoterVoteCount", node.peer_id)) >= 2,
        what=f"two votes of {node.name} on the contract",
        programs=(*swarm.nodes(), swarm.hub),
    )
    totals = read_peer_totals(swarm.contract, node.peer_id)
    assert totals.registered_to == node.account
    assert totals.total_reward > 0


def test_votes_go_to_peers_of_the_swarm(swarm: SwarmOfThree) -> None:
    for node in swarm.nodes():
        node.wait_for_rounds(1, swarm.hub)
    wins = [read_peer_totals(swarm.contract, node.peer_id).total_wins for node in swarm.nodes()]
    votes = [int(swarm.contract.read("getVoterVoteCount", node.peer_id)) for node in swarm.nodes()]
    assert 0 < sum(wins) <= sum(votes)


def test_the_contract_has_the_reward_and_the_vote_that_the_node_reported(swarm: SwarmOfThree) -> None:
    ada = swarm.node("ada")

    def vote_in_company() -> RoundReport | None:
        # In company from its first draw on, a node draws 2 groups of 4 completions, and reports what they earned.
        pairs = pairwise(ada.reports())
        return next((later for earlier, later in pairs if earlier.external_peers and later.vote is not None), None)

    report = wait_for(vote_in_company, what="a round in company with a vote", programs=(*swarm.nodes(), swarm.hub))
    wait_for(lambda: voted(swarm, report.round, ada.peer_id), what="the vote on the contract", programs=(ada,))
    assert swarm.contract.read("getVoterVotes", report.round, ada.peer_id) == [report.vote]
    assert report.vote in swarm.others(ada)
    rewards = swarm.contract.read("getRoundStageReward", report.round, 0, [ada.account])
    assert rewards == [round(8 * report.local_reward)]


def test_a_node_killed_in_the_midst_of_a_round_goes_on_where_it_was(swarm: SwarmOfThree) -> None:
    cem = swarm.node("cem")
    wait_for(cem.checkpoint, what="a checkpoint", programs=(cem, swarm.hub))
    peer_id = cem.peer_id
    killed_in = cem.freeze_in("generate", "score", "publish", "gather", "train")
    checkpoint, last_report = cem.checkpoint(), cem.reports()[-1]
    assert checkpoint is not None
    cem.kill()
    wait_for(lambda: not cem.children(), what="the end of its peer-to-peer daemon")

    again = swarm.node("cem")
    first, *_ = again.wait_for_rounds(3, swarm.hub)
    assert again.peer_id == peer_id
    assert f"Resuming after step {checkpoint.step} (round {checkpoint.round})" in again.output()
    assert first.step == checkpoint.step + 1
    assert first.round > checkpoint.round
    assert first.round >= killed_in >= last_report.round
    wait_for(
        lambda: (
            {peer for report in again.reports() if report.round > first.round for peer in report.external_peers}
            == swarm.others(again)
        ),
        what="company after the restart",
        programs=(*swarm.nodes(), swarm.hub),
    )


def test_what_a_killed_node_owed_the_chain_is_sent_after_its_restart(swarm: SwarmOfThree) -> None:
    cem = swarm.node("cem")
    cem.wait_for_rounds(1, swarm.hub)
    cem.freeze_in("generate", "score", "publish", "gather", "train")
    # While the hub stands still, and with it the only way to the chain, this round's reward and vote can't be sent.
    with swarm.hub.frozen():
        cem.thaw()
        wait_for(lambda: cem.waiting_transactions() > 0, what="transactions that wait", programs=(cem,))
        cem.kill()
    again = swarm.node("cem")
    again.wait_for_rounds(1, swarm.hub)
    wait_for(lambda: again.waiting_transactions() == 0, what="an empty outbox", programs=(again, swarm.hub))
    voted_in = {report.round for report in again.reports() if report.vote is not None}
    for round_number in {report.round for report in again.reports()}:
        submitted = swarm.contract.read("hasSubmittedRoundStageReward", round_number, 0, again.peer_id)
        assert submitted, f"the reward of round {round_number} is not on the contract"
        assert voted(swarm, round_number, again.peer_id) == (round_number in voted_in)


def test_ctrl_c_ends_a_node_in_order_with_a_checkpoint_of_its_last_step(
    swarm: SwarmOfThree, tiny_model_folder: Path
) -> None:
    bea = swarm.node("bea")
    bea.wait_for_rounds(2, swarm.hub)
    bea.children()
    bea.ctrl_c()
    assert bea.wait() == 0
    assert "Traceback" not in bea.output()
    assert bea.children() == []
    checkpoint, last = bea.checkpoint(), bea.reports()[-1]
    assert checkpoint is not None
    assert (checkpoint.step, checkpoint.round) == (last.step, last.round)
    (folder,) = bea.home.checkpoints.glob(f"step-{checkpoint.step:08d}-*")
    assert (folder / "model.safetensors").read_bytes() != (tiny_model_folder / "model.safetensors").read_bytes()


def test_a_killed_node_leaves_neither_a_daemon_nor_a_scoring_worker_behind(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    with NodeProgram(tmp_path / "node", tiny_model_folder, "tasks=starter", "blockchain.round_seconds=1") as node:
        node.wait_for_rounds(1)
        assert any("p2pd" in child.name() for child in node.children())
        assert any("scoring_worker" in " ".join(child.cmdline()) for child in node.children())
        node.kill()
        wait_for(lambda: not node.children(), what="the end of all that the node had started", seconds=30)


def met(node: NodeProgram, *, after: int = -1) -> set[str]:
    """Peers whose groups it has trained on in the rounds after ``after``."""
    return {peer for report in node.reports() if report.round > after for peer in report.external_peers}


def voted(swarm: SwarmOfThree, round_number: int, peer_id: str) -> bool:
    return bool(swarm.contract.read("getVoterVotes", round_number, peer_id))

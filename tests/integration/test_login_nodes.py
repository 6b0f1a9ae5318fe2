"""Nodes whose accounts the real login server keeps: one email and several nodes, over log-outs and a server's death."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.coordinator import ChainError, PeerTotals
from rgym_exp.chain.deploy import OwnerClient, deploy_coordinator
from rgym_exp.chain.devnet import Devnet
from rgym_exp.chain.modal import ModalCoordinator
from tests.support.login_server import LoginServerProcess
from tests.support.processes import HubProgram, NodeProgram, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LAST_ROUND = 9
EMAIL = "ada@example.org"


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start(tmp_path_factory.mktemp("devnet")) as running:
        yield running


@pytest.fixture
def contract(devnet: Devnet) -> SwarmContract:
    """A contract of the test's own, in round LAST_ROUND."""
    deployment = deploy_coordinator(devnet.rpc_url, devnet.owner)
    owner = OwnerClient(devnet.rpc_url, deployment.address, devnet.owner)
    for _ in range(LAST_ROUND):
        owner.advance_round()
    return SwarmContract(devnet.rpc_url, deployment.address, chain_id=devnet.chain_id)


@pytest.fixture
def server(devnet: Devnet, contract: SwarmContract, tmp_path: Path) -> Iterator[LoginServerProcess]:
    with LoginServerProcess(
        tmp_path / "login", rpc_url=devnet.rpc_url, chain_id=devnet.chain_id, contract_address=contract.address
    ) as running:
        yield running


NodeMaker = Callable[[str], ModalCoordinator]


@pytest.fixture
def make_node(contract: SwarmContract, server: LoginServerProcess, tmp_path: Path) -> Iterator[NodeMaker]:
    made: list[ModalCoordinator] = []

    def make(home: str) -> ModalCoordinator:
        made.append(
            ModalCoordinator(
                rpc_url=contract.rpc_url,
                contract_address=contract.address,
                chain_id=contract.chain_id,
                login_url=server.url,
                token_file=server.token_file,
                outbox_path=tmp_path / f"{home}.sqlite",
            )
        )
        return made[-1]

    yield make
    for node in made:
        node.close()


def owe_everything(node: ModalCoordinator, peer_id: str) -> None:
    """A registration, and a reward and a vote for each round: 2 x LAST_ROUND + 3 writes."""
    node.register(peer_id)
    for round in range(LAST_ROUND + 1):
        node.submit_reward(round=round, stage=0, reward=round + 1, peer_id=peer_id)
        node.submit_winners(round=round, winners=["QmAda", "QmBea"], peer_id=peer_id)


def confirmed(*nodes: ModalCoordinator) -> int:
    return sum(each.status == "confirmed" for node in nodes for each in node.transactions(100))


def settled(*nodes: ModalCoordinator) -> Callable[[], bool]:
    return lambda: not any(node.pending() for node in nodes)


def details(node: ModalCoordinator) -> str:
    return "\n".join(each.detail for each in node.transactions(100))


def assert_nothing_is_lost(contract: SwarmContract, account: str, *nodes: ModalCoordinator) -> None:
    """Both peers are the account's, and every reward and vote of theirs is on the contract once."""
    rounds = LAST_ROUND + 1
    assert confirmed(*nodes) == len(nodes) * (1 + 2 * rounds)
    for peer_id in ("QmAda", "QmBea"):
        assert nodes[0].peer_totals(peer_id) == PeerTotals(
            # 1 + 2 + ... + 10; and each of the two voted for both in every round.
            registered_to=account,
            total_reward=55,
            total_wins=2 * rounds,
        )
    for round in range(rounds):
        assert contract.read("getRoundStageReward", round, 0, [account]) == [2 * (round + 1)]


def test_two_nodes_of_one_email_send_at_once_and_lose_nothing(
    contract: SwarmContract, server: LoginServerProcess, make_node: NodeMaker
) -> None:
    server.log_in(EMAIL)
    ada, bea = make_node("ada"), make_node("bea")
    assert ada.account == bea.account
    owe_everything(ada, "QmAda")
    owe_everything(bea, "QmBea")
    wait_for(settled(ada, bea), what="two empty outboxes")
    assert_nothing_is_lost(contract, ada.account, ada, bea)
    # Not one transaction failed, and none was needed twice.
    assert contract.web3.eth.get_transaction_count(ada.account) == 2 * (1 + 2 * (LAST_ROUND + 1))  # type: ignore[arg-type]


def test_a_server_that_is_killed_and_started_again_in_the_middle_loses_nothing(
    contract: SwarmContract, server: LoginServerProcess, make_node: NodeMaker
) -> None:
    server.log_in(EMAIL)
    ada, bea = make_node("ada"), make_node("bea")
    owe_everything(ada, "QmAda")
    owe_everything(bea, "QmBea")
    wait_for(lambda: confirmed(ada, bea) >= 6, what="the first confirmed writes")
    server.kill()
    # Owed, as at every start of a node, while nobody is there to take it.
    ada.register("QmAda")
    wait_for(lambda: "No login server answers" in details(ada), what="the first complaint")
    server.start()
    wait_for(settled(ada, bea), what="two empty outboxes")
    assert_nothing_is_lost(contract, ada.account, ada, bea)


def test_a_restarted_server_with_a_new_token_is_heard_again(
    contract: SwarmContract, server: LoginServerProcess, make_node: NodeMaker
) -> None:
    server.log_in(EMAIL)
    node = make_node("ada")
    server.stop()
    server.token_file.unlink()
    server.start()
    node.register("QmAda")
    wait_for(settled(node), what="an empty outbox")
    assert contract.registered_to("QmAda") == node.account


def test_who_logs_out_owes_until_the_same_email_is_logged_in_again(
    contract: SwarmContract, server: LoginServerProcess, make_node: NodeMaker
) -> None:
    org_id = server.log_in(EMAIL)
    node = make_node("ada")
    server.log_out(org_id)
    server.log_in("somebody else")
    node.register("QmAda")
    node.submit_reward(round=3, stage=0, reward=7, peer_id="QmAda")
    wait_for(lambda: "Log in again at" in details(node), what="the request to log in")
    assert node.pending() == 2
    assert server.log_in(EMAIL.upper()) == org_id
    wait_for(settled(node), what="an empty outbox")
    assert node.peer_totals("QmAda") == PeerTotals(registered_to=node.account, total_reward=7, total_wins=0)


def test_the_same_email_and_peer_again_is_the_same_account_and_no_new_transaction(
    contract: SwarmContract, server: LoginServerProcess, make_node: NodeMaker
) -> None:
    server.log_in(EMAIL)
    first = make_node("before")
    first.register("QmAda")
    wait_for(settled(first), what="an empty outbox")
    again = make_node("a home made anew")
    again.register("QmAda")
    wait_for(settled(again), what="an empty outbox")
    assert again.account == first.account
    assert [each.status for each in again.transactions()] == ["confirmed"]
    assert contract.web3.eth.get_transaction_count(first.account) == 1  # type: ignore[arg-type]


def test_an_old_peer_under_another_email_is_told_the_two_ways_out(
    server: LoginServerProcess, make_node: NodeMaker
) -> None:
    server.log_in(EMAIL)
    first = make_node("first")
    first.register("QmAda")
    wait_for(settled(first), what="an empty outbox")
    server.log_in("bea@example.org")
    second = make_node("second")
    assert second.account != first.account
    second.register("QmAda")
    second.submit_reward(round=0, stage=0, reward=1, peer_id="QmAda")
    wait_for(settled(second), what="an empty outbox")
    for transaction in second.transactions():
        assert transaction.status == "refused"
        assert f"registered to account {first.account}" in transaction.detail
        assert "log in with the email that first registered it, or move swarm.pem away" in transaction.detail


def test_without_a_login_and_with_an_expired_one_no_node_starts(
    server: LoginServerProcess, make_node: NodeMaker
) -> None:
    with pytest.raises(ChainError, match="Nobody is logged in"):
        make_node("nobody")
    server.log_in(EMAIL)
    keys_file = server.data_dir / "userApiKey.json"
    keys = json.loads(keys_file.read_text())
    for key in (key for listed in keys.values() for key in listed):
        key["expiresAt"] = 1_700_000_000
    keys_file.write_text(json.dumps(keys))
    with pytest.raises(ChainError, match="ran out on 2023-11-1.*Log in again"):
        make_node("expired")


def test_what_the_server_logs_tells_no_secret(server: LoginServerProcess, make_node: NodeMaker) -> None:
    server.log_in(EMAIL)
    node = make_node("ada")
    owe_everything(node, "QmAda")
    wait_for(settled(node), what="an empty outbox")
    log = server.log_file.read_text()
    keys = json.loads((server.data_dir / "userApiKey.json").read_text())
    secrets = [key["privateKey"].removeprefix("0x") for listed in keys.values() for key in listed]
    assert len(secrets) == 1
    assert not any(secret in log for secret in [*secrets, server.token_file.read_text().strip()])


def test_two_nodes_of_one_email_share_a_login_server_train_report_and_vote(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    with ExitStack() as life:
        hub = life.enter_context(HubProgram(tmp_path / "hub", "--round-minimum", "0.5", "--round-limit", "30"))
        invite = hub.invite()
        assert invite.rpc_url and invite.chain_id and invite.coordinator_address
        contract = SwarmContract(invite.rpc_url, invite.coordinator_address, chain_id=invite.chain_id)
        # Somebody logged in some time ago. The server writes through the hub's RPC proxy, which lets only reads and
        # signed transactions through.
        with LoginServerProcess(
            tmp_path / "login",
            rpc_url=invite.rpc_url,
            chain_id=invite.chain_id,
            contract_address=invite.coordinator_address,
        ) as server:
            server.log_in(EMAIL)
            account = server.account_address()
        nodes = [
            life.enter_context(
                NodeProgram(
                    tmp_path / name,
                    tiny_model_folder,
                    "blockchain.coordinator=modal",
                    "network.login_url=http://127.0.0.1:3000/api",
                    invite=invite,
                    environ={"LOGIN_DATA_DIR": str(server.data_dir), "LOGIN_PORT": str(server.port)},
                )
            )
            for name in ("ada", "bea")
        ]
        for node in nodes:
            wait_for(
                lambda peer_id=node.peer_id: contract.read("getVoterVoteCount", peer_id) >= 2,  # type: ignore[misc]
                what=f"two votes of {node.name} on the contract",
                programs=(*nodes, hub),
            )
        assert sum("Using the login server that another node runs" in node.log() for node in nodes) == 1
        for node in nodes:
            # One after the other: whoever started the login server leaves it to the other one.
            node.ctrl_c()
            assert node.wait() == 0
            assert contract.registered_to(node.peer_id) == account
            # It needed no key of its own.
            assert not node.home.account_key.exists()
        [peers] = contract.read("getPeerId", [account])
        assert set(peers) == {node.peer_id for node in nodes}

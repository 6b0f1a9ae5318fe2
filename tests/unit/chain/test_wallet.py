"""A node that holds its own key: what it reads, and how its writes get through whatever happens to chain and node."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account

from rgym_exp.chain.account import load_or_create_account
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.coordinator import ChainError, ChainUnavailable, PeerTotals
from rgym_exp.chain.deploy import deploy_coordinator
from rgym_exp.chain.devnet import Devnet
from rgym_exp.chain.outbox_reading import read_outbox
from rgym_exp.chain.transactions import Transactor
from rgym_exp.chain.wallet import WalletCoordinator
from tests.support.compiler import compiled_for_tests

REPOSITORY = Path(__file__).resolve().parents[3]


def statuses(node):
    return [each.status for each in node.transactions(100)]


def details(node):
    return [each.detail for each in node.transactions(100)]


# ---------------------------------------------------------------------------------------------------------------- reads


def test_a_node_reads_round_bootnodes_and_totals(chain, make_node):
    chain.owner.advance_round()
    chain.owner.set_bootnodes(["/ip4/127.0.0.1/tcp/1/p2p/QmBoot"])
    node = make_node()
    assert node.round_and_stage() == (1, 0)
    assert node.bootnodes() == ["/ip4/127.0.0.1/tcp/1/p2p/QmBoot"]
    assert node.peer_totals("QmNobody") == PeerTotals(registered_to=None, total_reward=0, total_wins=0)


def test_a_chain_that_is_away_is_unavailable_and_does_not_stop_a_node_from_starting(make_node, faulty_rpc):
    faulty_rpc.mode = "away"
    node = make_node(rpc_url=faulty_rpc.url)
    with pytest.raises(ChainUnavailable, match="doesn't answer"):
        node.round_and_stage()
    faulty_rpc.mode = "pass"
    assert node.round_and_stage() == (0, 0)


@pytest.mark.parametrize("mode", ["garbage", "refuse"])
def test_an_answer_that_is_no_chains_is_unavailable(make_node, faulty_rpc, mode):
    faulty_rpc.mode = mode
    with pytest.raises(ChainUnavailable):
        make_node(rpc_url=faulty_rpc.url).round_and_stage()


def test_the_wrong_chain_is_told_by_its_number(make_node):
    with pytest.raises(ChainError, match="685686.*chain 5") as caught:
        make_node(chain_id=5).round_and_stage()
    assert not isinstance(caught.value, ChainUnavailable)


def test_a_missing_contract_is_told_by_its_address(make_node):
    address = "0x" + 40 * "7"
    with pytest.raises(ChainError, match=f"no SwarmCoordinator at {address}") as caught:
        make_node(contract_address=address).round_and_stage()
    assert not isinstance(caught.value, ChainUnavailable)


def test_an_address_that_is_none_is_refused_at_once(make_node):
    with pytest.raises(ChainError, match="isn't a contract address"):
        make_node(contract_address="0x12")


# --------------------------------------------------------------------------------------------------------------- writes


def test_registration_reward_and_vote_reach_the_chain(chain, make_node, wait_until):
    node = make_node()
    node.register("QmA")
    node.submit_reward(round=0, stage=0, reward=-4, peer_id="QmA")
    node.submit_winners(round=0, winners=["QmA", "QmB"], peer_id="QmA")
    wait_until(lambda: node.pending() == 0)
    assert statuses(node) == ["confirmed"] * 3
    assert node.peer_totals("QmA") == PeerTotals(registered_to=node.account, total_reward=-4, total_wins=1)
    assert all(each.hash for each in node.transactions())


def test_on_a_chain_without_fees_only_the_first_reward_and_vote_ask_before_they_are_sent(
    chain, make_node, faulty_rpc, wait_until
):
    node = make_node(rpc_url=faulty_rpc.url)
    node.register("QmA")
    for round in range(4):
        node.submit_reward(round=round, stage=0, reward=1, peer_id="QmA")
        node.submit_winners(round=round, winners=["QmB"], peer_id="QmA")
        wait_until(lambda: node.pending() == 0)
        chain.owner.advance_round()
    assert node.peer_totals("QmA") == PeerTotals(registered_to=node.account, total_reward=4, total_wins=0)
    assert node.peer_totals("QmB").total_wins == 4
    assert faulty_rpc.methods.count("eth_sendRawTransaction") == 9
    assert faulty_rpc.methods.count("eth_estimateGas") == faulty_rpc.methods.count("eth_gasPrice") == 3


def test_a_chain_that_was_away_for_a_moment_is_not_asked_more_afterwards(chain, make_node, faulty_rpc, wait_until):
    def play(round: int) -> None:
        node.submit_reward(round=round, stage=0, reward=1, peer_id="QmA")
        node.submit_winners(round=round, winners=["QmB"], peer_id="QmA")

        wait_until(lambda: node.pending() == 0)
        chain.owner.advance_round()

    def refuses_one() -> bool:
        return faulty_rpc.methods.count("eth_sendRawTransaction") > sent

    node = make_node(rpc_url=faulty_rpc.url)
    node.register("QmA")
    for round in range(2):
        play(round)
    sent = faulty_rpc.methods.count("eth_sendRawTransaction")
    faulty_rpc.mode = "refuse each"
    node.submit_reward(round=2, stage=0, reward=1, peer_id="QmA")
    wait_until(refuses_one)
    faulty_rpc.mode = "pass"
    wait_until(lambda: node.pending() == 0)
    chain.owner.advance_round()
    play(3)
    asked = faulty_rpc.methods.count("eth_estimateGas")
    play(4)
    assert faulty_rpc.methods.count("eth_estimateGas") == asked
    assert node.peer_totals("QmA").total_reward == 5


def test_a_report_that_the_contract_has_already_is_found_out_without_asking_before(chain, make_node, wait_until):
    account = Account.create()
    node = make_node(account=account)
    node.register("QmA")
    node.submit_reward(round=0, stage=0, reward=1, peer_id="QmA")
    wait_until(lambda: node.pending() == 0)
    chain.owner.advance_round()
    other = chain.person(account)
    other.do("submitReward", 1, 0, 7, "QmA")  # takes the number that the node would use next
    node.submit_reward(round=1, stage=0, reward=1, peer_id="QmA")
    wait_until(lambda: node.pending() == 0)
    assert (statuses(node)[0], details(node)[0]) == ("confirmed", "was on chain already")
    assert node.peer_totals("QmA").total_reward == 8


def test_writes_return_at_once_while_the_chain_is_silent(make_node, faulty_rpc):
    faulty_rpc.mode = "lose"
    node = make_node(rpc_url=faulty_rpc.url)
    node.register("QmA")
    assert faulty_rpc.swallowed.wait(10)
    began = time.monotonic()
    node.submit_reward(round=0, stage=0, reward=1, peer_id="QmA")
    node.submit_winners(round=0, winners=["QmA"], peer_id="QmA")
    assert time.monotonic() - began < 1.0
    assert node.pending() == 3


def test_registering_again_costs_no_transaction(chain, make_node, wait_until):
    account = Account.create()
    node = make_node(account=account)
    node.register("QmA")
    wait_until(lambda: node.pending() == 0)
    node.register("QmA")
    wait_until(lambda: node.pending() == 0)
    other_home = make_node(name="other home", account=account)
    other_home.register("QmA")
    wait_until(lambda: other_home.pending() == 0)
    assert statuses(node) == statuses(other_home) == ["confirmed"]
    assert chain.person(account).transactions_made() == 1


def test_a_peer_of_another_account_is_refused_with_the_two_ways_out(make_node, wait_until, caplog):
    first, second = make_node(name="first"), make_node(name="second")
    first.register("QmA")
    wait_until(lambda: first.pending() == 0)
    with caplog.at_level(logging.WARNING, logger="rl_swarm.chain"):
        second.register("QmA")
        second.submit_reward(round=0, stage=0, reward=1, peer_id="QmA")
        wait_until(lambda: second.pending() == 0)
    assert statuses(second) == ["refused", "refused"]
    for detail in details(second):
        assert first.account in detail
        assert "swarm.pem" in detail
        assert "account that first registered it" in detail
    assert any(first.account in record.getMessage() for record in caplog.records)


def test_what_is_on_chain_already_counts_as_confirmed(chain, make_node, wait_until):
    account = Account.create()
    person = chain.person(account)
    person.do("registerPeer", "QmA")
    person.do("submitReward", 0, 0, 5, "QmA")
    person.do("submitWinners", 0, ["QmB"], "QmA")
    node = make_node(account=account)
    node.submit_reward(round=0, stage=0, reward=6, peer_id="QmA")
    node.submit_winners(round=0, winners=["QmC"], peer_id="QmA")
    wait_until(lambda: node.pending() == 0)
    assert statuses(node) == ["confirmed", "confirmed"]
    assert details(node) == ["was on chain already"] * 2
    assert person.transactions_made() == 3


def test_a_reward_ahead_of_the_chain_waits_until_the_round_has_begun(chain, make_node, quick, wait_until):
    node = make_node(retry_policy=replace(quick, most_tries=1000))
    node.register("QmA")
    node.submit_reward(round=1, stage=0, reward=5, peer_id="QmA")
    wait_until(lambda: any("InvalidRoundNumber" in detail for detail in details(node)))
    chain.owner.advance_round()
    wait_until(lambda: node.pending() == 0)
    assert statuses(node) == ["confirmed", "confirmed"]
    assert node.peer_totals("QmA").total_reward == 5


def test_a_reward_for_a_round_that_never_comes_is_given_up(make_node, wait_until):
    node = make_node()
    node.register("QmA")
    node.submit_reward(round=99, stage=0, reward=5, peer_id="QmA")
    wait_until(lambda: node.pending() == 0)
    reward = node.transactions(1)[0]
    assert reward.status == "refused"
    assert "InvalidRoundNumber" in reward.detail
    assert "given up after 4 tries" in reward.detail


def test_a_peer_that_the_chain_forgot_is_registered_again(chain, make_node, wait_until):
    node = make_node()
    node.submit_reward(round=0, stage=0, reward=5, peer_id="QmA")  # never registered, as after a restored chain
    wait_until(lambda: node.pending() == 0 and len(node.transactions()) == 2)
    assert node.peer_totals("QmA") == PeerTotals(registered_to=node.account, total_reward=5, total_wins=0)


@pytest.mark.parametrize("winners", [["QmB", "QmB"], ["\ud800"]])
def test_a_vote_that_no_retry_can_help_is_refused_at_once_and_holds_up_nothing(make_node, wait_until, winners):
    node = make_node()
    node.register("QmA")
    node.submit_winners(round=0, winners=winners, peer_id="QmA")
    node.submit_reward(round=0, stage=0, reward=5, peer_id="QmA")
    wait_until(lambda: node.pending() == 0)
    assert sorted(statuses(node)) == ["confirmed", "confirmed", "refused"]


def test_an_empty_vote_is_a_mistake_of_the_caller(make_node):
    with pytest.raises(ValueError, match="at least one winner"):
        make_node().submit_winners(round=0, winners=[], peer_id="QmA")


@pytest.mark.parametrize("mode", ["away", "garbage", "refuse"])
def test_writes_outlast_a_chain_that_is_away(make_node, faulty_rpc, wait_until, mode):
    faulty_rpc.mode = mode
    node = make_node(rpc_url=faulty_rpc.url)
    node.register("QmA")
    node.submit_reward(round=0, stage=0, reward=5, peer_id="QmA")
    wait_until(lambda: len(faulty_rpc.methods) > 8)  # more failures than counted ones would be forgiven
    assert statuses(node) == ["waiting", "waiting"]
    faulty_rpc.mode = "pass"
    wait_until(lambda: node.pending() == 0)
    assert statuses(node) == ["confirmed", "confirmed"]


def test_writes_outlast_a_devnet_that_is_restarted(tmp_path, wait_until):
    devnet = Devnet.start(tmp_path / "devnet")
    address = deploy_coordinator(devnet.rpc_url, devnet.owner).address
    node = WalletCoordinator(
        rpc_url=devnet.rpc_url,
        contract_address=address,
        chain_id=devnet.chain_id,
        account=Account.create(),
        outbox_path=tmp_path / "outbox.sqlite",
        lock_folder=tmp_path / "locks",
    )
    node.register("QmA")
    wait_until(lambda: node.pending() == 0)
    devnet.stop()
    node.submit_reward(round=0, stage=0, reward=5, peer_id="QmA")
    wait_until(lambda: any(details(node)))
    with Devnet.start(tmp_path / "devnet", port=devnet.port):
        wait_until(lambda: node.pending() == 0)
        assert node.peer_totals("QmA").total_reward == 5
        node.close()


_REGISTERING_NODE = """
import sys
from pathlib import Path
from rgym_exp.chain.account import load_account
from rgym_exp.chain.wallet import WalletCoordinator
rpc_url, address, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
node = WalletCoordinator(rpc_url=rpc_url, contract_address=address, chain_id=685686,
    account=load_account(folder / "account.key"), outbox_path=folder / "node.sqlite", lock_folder=folder / "locks")
for round in range(int(sys.argv[4])):
    node.submit_reward(round=round, stage=0, reward=1, peer_id=sys.argv[5])
node.register(sys.argv[5])
node.close(flush_seconds=60)
"""


def start_node_process(rpc_url, chain, folder, *, rounds=0, peer_id="QmA"):
    return subprocess.Popen(
        [sys.executable, "-c", _REGISTERING_NODE, rpc_url, chain.address, str(folder), str(rounds), peer_id],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


@pytest.mark.parametrize("mode", ["lose", "mute"])
def test_a_node_killed_between_sending_and_confirmation_sends_nothing_twice(
    chain, make_node, faulty_rpc, tmp_path, wait_until, mode
):
    """Killed while the transaction was on its way: in one case it never arrived, in the other nobody heard of it."""
    account = load_or_create_account(tmp_path / "account.key")
    faulty_rpc.mode = mode
    process = start_node_process(faulty_rpc.url, chain, tmp_path)
    assert faulty_rpc.swallowed.wait(30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    pending, (row,) = read_outbox(tmp_path / "node.sqlite")
    assert (pending, row.status) == (1, "sent")

    node = make_node(account=account)  # the same outbox, another life
    wait_until(lambda: node.pending() == 0)
    (confirmed,) = node.transactions()
    assert (confirmed.status, confirmed.hash) == ("confirmed", row.hash)
    assert chain.person(account).transactions_made() == 1
    assert node.peer_totals("QmA").registered_to == node.account


_BETTING_NODE = """
import sys
from pathlib import Path
from rgym_exp.chain.account import load_account
from rgym_exp.chain.wallet import WalletCoordinator
rpc_url, address, market, folder = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])
node = WalletCoordinator(rpc_url=rpc_url, contract_address=address, chain_id=685686, market_address=market,
    account=load_account(folder / "account.key"), outbox_path=folder / "node.sqlite", lock_folder=folder / "locks")
node.market.place_bet(game=0, clue=0, choice=1, stake=10**18, peer_id="QmA")
node.close(flush_seconds=60)
"""


@pytest.mark.parametrize("mode", ["lose", "mute"])
def test_a_node_killed_between_sending_a_bet_and_its_confirmation_bets_once(
    chain, games, make_node, bets_on_chain, faulty_rpc, tmp_path, wait_until, mode
):
    account = load_or_create_account(tmp_path / "account.key")
    chain.person(account).do("registerPeer", "QmA")
    games.create_game(2, 2, bytes(32))
    faulty_rpc.mode = mode
    arguments = [faulty_rpc.url, chain.address, games.address, str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-c", _BETTING_NODE, *arguments], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    assert faulty_rpc.swallowed.wait(30)
    process.send_signal(signal.SIGKILL)
    process.wait()

    node = make_node(account=account, market_address=games.address)  # the same outbox, another life
    assert node.market.place_bet(game=0, clue=0, choice=0, stake=5, peer_id="QmA") is False
    wait_until(lambda: node.pending() == 0)
    assert statuses(node) == ["confirmed"]
    assert bets_on_chain("QmA") == [(0, 0, 1, 10**18)]
    assert chain.person(account).transactions_made() == 2


def test_two_processes_of_one_account_lose_nothing(chain, tmp_path):
    rounds = 6
    for _ in range(rounds):
        chain.owner.advance_round()
    for home in ("one", "two"):
        (tmp_path / home).mkdir()
    account = load_or_create_account(tmp_path / "one" / "account.key")
    (tmp_path / "two" / "account.key").write_bytes((tmp_path / "one" / "account.key").read_bytes())
    (tmp_path / "two" / "locks").symlink_to(tmp_path / "one" / "locks")
    (tmp_path / "one" / "locks").mkdir()
    processes = [
        start_node_process(chain.devnet.rpc_url, chain, tmp_path / home, rounds=rounds, peer_id=f"Qm-{home}")
        for home in ("one", "two")
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert chain.contract.read("getTotalRewards", ["Qm-one", "Qm-two"]) == [rounds, rounds]
    assert chain.person(account).transactions_made() == 2 * (rounds + 1)


def test_two_nodes_on_one_outbox_send_each_row_once(chain, make_node, wait_until):
    account = Account.create()
    nodes = [make_node(name="shared", account=account) for _ in range(2)]
    for node in nodes:
        node.register("QmA")
        node.submit_reward(round=0, stage=0, reward=5, peer_id="QmA")
    wait_until(lambda: nodes[0].pending() == 0)
    assert nodes[0].peer_totals("QmA").total_reward == 5
    assert chain.person(account).transactions_made() == 2


def test_two_accounts_do_not_wait_for_each_other(make_node, faulty_rpc, wait_until):
    stuck = make_node(name="stuck", rpc_url=faulty_rpc.url)
    free = make_node(name="free")
    faulty_rpc.mode = "lose"
    stuck.register("QmStuck")
    assert faulty_rpc.swallowed.wait(10)
    free.register("QmFree")
    wait_until(lambda: free.pending() == 0)
    assert free.peer_totals("QmFree").registered_to == free.account
    assert stuck.pending() == 1


def test_a_second_node_of_an_account_says_once_that_it_waits(make_node, faulty_rpc, wait_until, caplog):
    account = Account.create()
    first = make_node(name="first", account=account, rpc_url=faulty_rpc.url)
    second = make_node(name="second", account=account)
    faulty_rpc.mode = "lose"
    first.register("QmA")
    assert faulty_rpc.swallowed.wait(10)
    with caplog.at_level(logging.INFO, logger="rl_swarm.chain"):
        second.register("QmB")
        wait_until(lambda: any("waits for its turn" in record.getMessage() for record in caplog.records))
        faulty_rpc.mode = "pass"
        faulty_rpc.released.set()
        wait_until(lambda: first.pending() == second.pending() == 0)
    assert sum("waits for its turn" in record.getMessage() for record in caplog.records) == 1


def test_a_number_that_another_machine_used_first_is_replaced(chain, make_node, faulty_rpc, wait_until, tmp_path):
    """Two machines have no lock in common: the other's transaction takes the nonce while ours is under way."""
    account = Account.create()
    node = make_node(account=account, rpc_url=faulty_rpc.url)
    faulty_rpc.mode = "lose"
    node.register("QmA")
    assert faulty_rpc.swallowed.wait(10)
    chain.person(account).do("registerPeer", "QmOtherMachine")
    faulty_rpc.mode = "pass"
    faulty_rpc.released.set()
    wait_until(lambda: node.pending() == 0)
    assert node.peer_totals("QmA").registered_to == node.account
    assert chain.person(account).transactions_made() == 2


def test_close_settles_what_it_can_and_leaves_the_rest(make_node, faulty_rpc, tmp_path):
    done = make_node(name="done")
    done.register("QmDone")
    done.close(flush_seconds=20)
    assert read_outbox(tmp_path / "done.sqlite")[0] == 0

    faulty_rpc.mode = "away"
    left = make_node(name="left", rpc_url=faulty_rpc.url)
    left.register("QmLeft")
    began = time.monotonic()
    left.close(flush_seconds=0.3)
    assert time.monotonic() - began < 5.0
    assert read_outbox(tmp_path / "left.sqlite")[0] == 1


# ---------------------------------------------------------------------------------------------------- a stranger's peer


@pytest.fixture(scope="module")
def already_there_first(devnet) -> str:
    """The address of a coordinator that looks what is there before it looks whose peer it is."""
    built = compiled_for_tests("AlreadyThereFirst")
    contract = SwarmContract(devnet.rpc_url, f"0x{0:040x}")
    factory = contract.web3.eth.contract(abi=built["abi"], bytecode=built["bytecode"])
    return str(Transactor(contract, devnet.owner).execute(factory.constructor())["contractAddress"])


def test_what_a_strangers_peer_has_there_is_not_taken_for_ones_own(make_node, already_there_first, wait_until):
    owner = make_node(name="owner", contract_address=already_there_first)
    owner.register("QmOwners")
    owner.submit_reward(round=0, stage=0, reward=5, peer_id="QmOwners")
    owner.submit_winners(round=0, winners=["QmB"], peer_id="QmOwners")
    wait_until(lambda: owner.pending() == 0)
    assert statuses(owner) == ["confirmed"] * 3

    # The same swarm.pem, with another account.
    stranger = make_node(name="stranger", contract_address=already_there_first)
    stranger.register("QmOwners")
    stranger.submit_reward(round=0, stage=0, reward=1, peer_id="QmOwners")
    stranger.submit_winners(round=0, winners=["QmC"], peer_id="QmOwners")
    wait_until(lambda: stranger.pending() == 0)
    assert statuses(stranger) == ["refused"] * 3
    assert all(f"is registered to account {owner.account}" in detail for detail in details(stranger))


def test_what_ones_own_peer_has_there_is_done(make_node, already_there_first, wait_until):
    account = Account.create()
    first = make_node(name="first", account=account, contract_address=already_there_first)
    first.register("QmTwice")
    first.submit_reward(round=0, stage=0, reward=5, peer_id="QmTwice")
    wait_until(lambda: first.pending() == 0)

    again = make_node(name="again", account=account, contract_address=already_there_first)
    again.register("QmTwice")
    again.submit_reward(round=0, stage=0, reward=5, peer_id="QmTwice")
    wait_until(lambda: again.pending() == 0)
    assert statuses(again) == ["confirmed"] * 2
    assert set(details(again)) == {"was on chain already"}

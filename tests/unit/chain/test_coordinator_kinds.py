"""The kinds without a chain of their own, and how a kind is chosen by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rgym_exp.chain.coordinator import ChainError, ChainUnavailable
from rgym_exp.chain.factory import make_coordinator
from rgym_exp.chain.offline import OfflineCoordinator
from rgym_exp.chain.wallet import WalletCoordinator
from simulation.memory_chain import MemoryChain

REPOSITORY = Path(__file__).resolve().parents[3]


def play(anna, ben, advance, settle):
    """A script that meets each rule once, as two nodes would; what they and an onlooker see at the end."""
    anna.register("QmA")
    settle()
    ben.register("QmA")
    ben.register("QmB")
    settle()
    anna.submit_reward(round=0, stage=0, reward=5, peer_id="QmA")
    anna.submit_winners(round=0, winners=["QmB", "QmC"], peer_id="QmA")
    ben.submit_reward(round=0, stage=0, reward=-1, peer_id="QmB")
    ben.submit_winners(round=0, winners=["QmB", "QmB"], peer_id="QmB")
    settle()
    anna.submit_reward(round=0, stage=0, reward=50, peer_id="QmA")
    anna.submit_winners(round=0, winners=["QmA"], peer_id="QmA")
    anna.submit_reward(round=9, stage=0, reward=1, peer_id="QmA")
    settle()
    advance()
    anna.submit_reward(round=1, stage=0, reward=2, peer_id="QmA")
    settle()
    totals = [
        (each.registered_to == anna.account, each.registered_to == ben.account, each.total_reward, each.total_wins)
        for each in map(anna.peer_totals, ("QmA", "QmB", "QmC"))
    ]
    settled = [
        {(each.kind, each.round, each.stage, each.status) for each in node.transactions(100)} for node in (anna, ben)
    ]
    return anna.round_and_stage(), totals, settled


def test_memory_follows_the_same_rules_as_the_contract(chain, make_node, wait_until):
    memory = MemoryChain()
    anna, ben = memory.coordinator("0xAnna"), memory.coordinator("0xBen")
    in_memory = play(anna, ben, anna.advance, lambda: None)

    nodes = anna_of_chain, ben_of_chain = [make_node(name=name) for name in ("anna", "ben")]
    on_chain = play(
        anna_of_chain,
        ben_of_chain,
        chain.owner.advance_round,
        lambda: wait_until(lambda: all(node.pending() == 0 for node in nodes)),
    )
    assert in_memory == on_chain


def test_memory_moves_stages_before_rounds():
    chain = MemoryChain(stage_count=2)
    assert [chain.advance() for _ in range(3)] == [(0, 1), (1, 0), (1, 1)]
    assert chain.refusal_of_round(1, 1) is None
    assert chain.refusal_of_round(0, 2) == "InvalidStageNumber"
    assert chain.refusal_of_round(2, 0) == "InvalidRoundNumber"


def test_memory_can_be_away():
    chain = MemoryChain(bootnodes=["/a"])
    node = chain.coordinator("0xAnna")
    assert node.bootnodes() == ["/a"]
    chain.available = False
    for ask in (node.round_and_stage, node.bootnodes, lambda: node.peer_totals("QmA")):
        with pytest.raises(ChainUnavailable):
            ask()


def test_memory_tells_its_last_writes_newest_first():
    node = MemoryChain().coordinator("0xAnna")
    node.register("QmA")
    node.submit_reward(round=0, stage=0, reward=1, peer_id="QmA")
    assert [each.kind for each in node.transactions(5)] == ["reward", "register"]
    assert [each.kind for each in node.transactions(1)] == ["reward"]


def test_offline_rounds_follow_the_clock():
    now = 0.0
    node = OfflineCoordinator(round_seconds=60, clock=lambda: now)
    assert node.round_and_stage() == (0, 0)
    now = 59.9
    assert node.round_and_stage() == (0, 0)
    now = 3600.0
    assert node.round_and_stage() == (60, 0)


def test_offline_owes_nothing():
    node = make_coordinator("offline", round_seconds=5)
    node.register("QmA")
    node.submit_reward(round=0, stage=0, reward=1, peer_id="QmA")
    node.submit_winners(round=0, winners=["QmA"], peer_id="QmA")
    assert (node.account, node.pending(), node.transactions(), node.bootnodes()) == ("", 0, [], [])
    assert node.peer_totals("QmA").registered_to is None
    node.close(flush_seconds=1)


def test_a_round_without_length_is_refused():
    with pytest.raises(ChainError, match="round_seconds"):
        make_coordinator("offline", round_seconds=0)


def test_the_wallet_is_made_from_its_parts(chain, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    node = make_coordinator(
        "wallet",
        rpc_url=chain.devnet.rpc_url,
        contract_address=chain.address,
        chain_id=chain.devnet.chain_id,
        key_file=tmp_path / "state" / "account.key",
        outbox_path=tmp_path / "state" / "outbox.sqlite",
    )
    assert isinstance(node, WalletCoordinator)
    node.register("QmA")
    node.close(flush_seconds=20)
    assert chain.contract.registered_to("QmA") == node.account


@pytest.mark.parametrize("kind", ["wallet", "modal"])
def test_a_contract_without_a_chain_is_told_what_to_do(tmp_path, kind):
    with pytest.raises(ChainError, match=f"The {kind} coordinator.*Join with an invite"):
        make_coordinator(kind, key_file=tmp_path / "account.key", outbox_path=tmp_path / "outbox.sqlite")


def test_an_unknown_kind_is_told_which_there_are():
    with pytest.raises(ChainError, match="wallet, modal, offline"):
        make_coordinator("metamask")


@pytest.mark.parametrize("login_url", [None, "", "http://127.0.0.1:9/api/"])
def test_modal_without_a_login_server_is_told_what_to_do(tmp_path, login_url):
    with pytest.raises(ChainError, match="login server.*coordinator=wallet"):
        make_coordinator(
            "modal",
            rpc_url="http://127.0.0.1:9",
            contract_address="0x" + 40 * "1",
            login_url=login_url,
            outbox_path=tmp_path / "outbox.sqlite",
        )


def test_choosing_a_kind_without_a_chain_imports_no_web3():
    script = (
        "import sys; from rgym_exp.chain.factory import make_coordinator; make_coordinator('offline'); "
        "sys.exit('web3' in sys.modules or 'eth_account' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

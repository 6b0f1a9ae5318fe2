"""What a host does to the contracts."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from eth_account import Account

from rgym_exp.chain.coordinator import ChainError, ChainUnavailable
from rgym_exp.chain.deploy import MarketOwner, OwnerClient, deploy_coordinator, deploy_market
from rgym_exp.chain.market_contract import MarketContract

ROOT = bytes(range(32))


def test_a_new_contract_obeys_its_owner(devnet):
    made = deploy_coordinator(devnet.rpc_url, devnet.owner)
    assert made.is_new
    assert made.chain_id == devnet.chain_id
    owner = OwnerClient(devnet.rpc_url, made.address, devnet.owner)
    owner.require_roles()
    assert owner.advance_round() == (1, 0)


def test_a_recorded_contract_is_used_again(chain):
    found = deploy_coordinator(chain.devnet.rpc_url, chain.devnet.owner, chain.address)
    assert (found.address, found.is_new) == (chain.address, False)


def test_a_recorded_contract_that_is_gone_is_replaced(devnet):
    gone = "0x" + 40 * "9"
    made = deploy_coordinator(devnet.rpc_url, devnet.owner, gone)
    assert made.is_new
    assert made.address != gone


def test_somebody_elses_contract_is_not_taken_for_ones_own(chain):
    with pytest.raises(ChainError, match="has no STAGE_MANAGER_ROLE"):
        deploy_coordinator(chain.devnet.rpc_url, Account.create(), chain.address)


def test_bootnodes_become_exactly_the_wanted_list(chain):
    for wanted in (["/a", "/b"], ["/c"], ["/c"], []):
        chain.owner.set_bootnodes(wanted)
        assert chain.owner.bootnodes() == wanted


def test_an_unchanged_list_costs_no_transaction(chain):
    chain.owner.set_bootnodes(["/a"])
    before = chain.owner_person.transactions_made()
    chain.owner.set_bootnodes(["/a"])
    assert chain.owner_person.transactions_made() == before


def test_a_refusal_is_told_with_the_errors_name(chain):
    stranger = OwnerClient(chain.devnet.rpc_url, chain.address, Account.create())
    with pytest.raises(ChainError, match="refuses updateStageAndRound.*OnlyStageManager"):
        stranger.advance_round()


def test_a_chain_that_is_away_is_unavailable(chain, faulty_rpc):
    faulty_rpc.mode = "away"
    with pytest.raises(ChainUnavailable):
        OwnerClient(faulty_rpc.url, chain.address, chain.devnet.owner).advance_round()
    with pytest.raises(ChainUnavailable):
        deploy_coordinator(faulty_rpc.url, chain.devnet.owner)


# -------------------------------------------------------------------------------------------------------------- market


@pytest.fixture
def market(chain: Any) -> MarketOwner:
    made = deploy_market(chain.devnet.rpc_url, chain.devnet.owner, chain.address)
    return market_owner(chain, made.address)


def market_owner(chain: Any, address: str, account: Any = None) -> MarketOwner:
    owner = account or chain.devnet.owner
    return MarketOwner(chain.devnet.rpc_url, address, owner, one_at_a_time=chain.owner.one_at_a_time)


def test_a_new_market_asks_its_coordinator_and_obeys_its_owner(chain):
    made = deploy_market(chain.devnet.rpc_url, chain.devnet.owner, chain.address)
    assert (made.is_new, made.chain_id) == (True, chain.devnet.chain_id)
    market = MarketContract(chain.devnet.rpc_url, made.address)
    assert (market.coordinator(), market.owner()) == (chain.address, chain.devnet.owner.address)
    chain.person().do("registerPeer", "QmA")
    assert (market.bet_token_balance("QmA"), market.bet_token_balance("QmNobody")) == (100 * 10**18, 0)


def test_a_recorded_market_is_used_again(chain, market):
    found = deploy_market(chain.devnet.rpc_url, chain.devnet.owner, chain.address.lower(), market.address)
    assert (found.address, found.is_new) == (market.address, False)


@pytest.mark.parametrize("kind", ["gone", "of another swarm", "somebody else's", "no market"])
def test_a_recorded_market_of_no_use_is_replaced_and_the_reason_told(chain, market, caplog, kind):
    url, owner = chain.devnet.rpc_url, chain.devnet.owner
    recorded, reason = {
        "gone": lambda: ("0x" + 40 * "9", "no contract at"),
        "of another swarm": lambda: (
            deploy_market(url, owner, deploy_coordinator(url, owner).address).address,
            "belongs to the swarm of",
        ),
        "somebody else's": lambda: (deploy_market(url, Account.create(), chain.address).address, "obeys"),
        "no market": lambda: (chain.address, "owner of the contract"),
    }[kind]()
    made = deploy_market(url, owner, chain.address, recorded)
    assert made.is_new
    assert MarketContract(url, made.address).owner() == owner.address
    assert reason in caplog.text


def test_a_market_without_a_coordinator_is_not_made(chain):
    with pytest.raises(ChainError, match="PredictionMarket couldn't be deployed.*InvalidCoordinator"):
        deploy_market(chain.devnet.rpc_url, chain.devnet.owner, "0x" + 40 * "9")


def test_a_game_is_run_from_its_first_clue_to_its_answer(market):
    assert market.game_count() == 0
    games = [market.create_game(2, 4, ROOT), market.create_game(1, 2, ROOT)]
    assert (games, market.game_count()) == ([0, 1], 2)
    assert (market.status(0), market.current_round(0)) == ("open", 0)
    market.increment_round(0)
    assert market.current_round(0) == 1
    market.reveal(0, 3, job_id=7)
    market.cancel(1)
    assert [market.status(game) for game in (0, 1, 2)] == ["revealed", "abandoned", "unknown"]


def test_what_the_market_refuses_is_told_with_its_errors_name(chain, market):
    with pytest.raises(ChainError, match="refuses createNewGame.*InvalidGame"):
        market.create_game(0, 4, ROOT)
    with pytest.raises(ChainError, match="refuses incrementRound.*GameNotFound"):
        market.increment_round(5)
    with pytest.raises(ChainError, match="refuses createNewGame.*OwnableUnauthorizedAccount"):
        market_owner(chain, market.address, Account.create()).create_game(2, 4, ROOT)


def test_keeper_and_games_never_take_each_others_nonce(chain, market):
    begin = threading.Barrier(2)

    def keep() -> None:
        begin.wait(10)
        for _ in range(8):
            chain.owner.advance_round()

    def play() -> list[int]:
        begin.wait(10)
        return [market.create_game(2, 4, ROOT) for _ in range(8)]

    with ThreadPoolExecutor(2) as threads:
        keeping, playing = threads.submit(keep), threads.submit(play)
        keeping.result(60)
        assert playing.result(60) == list(range(8))
    assert chain.owner.round_and_stage() == (8, 0)


def test_an_address_without_a_market_is_told_as_such(chain):
    with pytest.raises(ChainError, match="There is no PredictionMarket at 0x9999.*network.prg_address"):
        MarketContract(chain.devnet.rpc_url, "0x" + 40 * "9").game_count()

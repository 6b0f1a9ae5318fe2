"""What a host does to the contract."""

from __future__ import annotations

import pytest
from eth_account import Account

from rgym_exp.chain.coordinator import ChainError, ChainUnavailable
from rgym_exp.chain.deploy import OwnerClient, deploy_coordinator


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

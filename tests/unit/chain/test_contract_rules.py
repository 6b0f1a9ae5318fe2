"""The contract's rules, one by one, on a real chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from web3 import Web3
from web3.logs import DISCARD

from rgym_exp.chain.contract import Reverted, artifact, error_selectors
from rgym_exp.chain.transactions import Transactor

NOBODY = "0x" + 40 * "0"


def refusal(person: Any, function: str, *arguments: Any) -> str:
    with pytest.raises(Reverted) as caught:
        person.do(function, *arguments)
    return caught.value.name


def events(person: Any, receipt: Any, name: str) -> list[dict[str, Any]]:
    found = person.contract.contract.events[name]().process_receipt(receipt, errors=DISCARD)
    return [dict(each["args"]) for each in found]


# ---------------------------------------------------------------------------------------------------------------- peers


def test_a_peer_belongs_to_the_account_that_registers_it(chain):
    anna = chain.person()
    receipt = anna.do("registerPeer", "QmA")
    assert events(anna, receipt, "PeerRegistered") == [{"eoa": anna.address, "peerId": "QmA"}]
    assert anna.contract.read("getEoa", ["QmA", "QmNobody"]) == [anna.address, NOBODY]
    assert anna.contract.registered_to("QmA") == anna.address
    assert anna.contract.registered_to("QmNobody") is None


def test_one_account_may_own_many_peers(chain):
    anna, ben = chain.person(), chain.person()
    anna.do("registerPeer", "QmA1")
    anna.do("registerPeer", "QmA2")
    assert anna.contract.read("getPeerId", [anna.address, ben.address]) == [["QmA1", "QmA2"], []]


def test_a_peer_id_is_taken_for_ever_even_for_its_owner(chain):
    anna, ben = chain.person(), chain.person()
    anna.do("registerPeer", "QmA")
    assert refusal(ben, "registerPeer", "QmA") == "PeerIdAlreadyRegistered"
    assert refusal(anna, "registerPeer", "QmA") == "PeerIdAlreadyRegistered"


def test_an_empty_peer_id_is_refused(chain):
    assert refusal(chain.person(), "registerPeer", "") == "InvalidVoterPeerId"


# --------------------------------------------------------------------------------------------------------------- rounds


def test_only_a_stage_manager_moves_the_round(chain):
    assert refusal(chain.person(), "updateStageAndRound") == "OnlyStageManager"
    receipt = chain.owner_person.do("updateStageAndRound")
    assert events(chain.owner_person, receipt, "RoundAdvanced") == [{"newRound": 1}]
    assert events(chain.owner_person, receipt, "StageAdvanced") == [{"round": 1, "newStage": 0}]
    # In this order, as the public contract tells them.
    assert [log["topics"][0].to_0x_hex() for log in receipt["logs"]] == [
        Web3.keccak(text="RoundAdvanced(uint256)").to_0x_hex(),
        Web3.keccak(text="StageAdvanced(uint256,uint256)").to_0x_hex(),
    ]
    assert chain.contract.round_and_stage() == (1, 0)
    assert chain.contract.read("stageCount") == 1


def deploy(chain: Any, person: Any, stages: int) -> Any:
    web3 = chain.contract.web3
    factory = web3.eth.contract(abi=artifact()["abi"], bytecode=artifact()["bytecode"])
    receipt = Transactor(chain.contract, person.account).execute(factory.constructor(stages))
    return type(chain)(devnet=chain.devnet, address=receipt["contractAddress"], owner=chain.owner)


def test_with_more_stages_the_last_one_ends_the_round(chain):
    anna = chain.person()
    staged = deploy(chain, anna, 2)
    anna = staged.person(anna.account)
    anna.do("initialize", anna.address)
    anna.do("registerPeer", "QmA")
    assert refusal(anna, "submitReward", 0, 1, 5, "QmA") == "InvalidStageNumber"

    receipt = anna.do("updateStageAndRound")
    assert events(anna, receipt, "StageAdvanced") == [{"round": 0, "newStage": 1}]
    anna.do("submitReward", 0, 1, 5, "QmA")
    assert refusal(anna, "submitReward", 0, 2, 5, "QmA") == "InvalidStageNumber"

    anna.do("updateStageAndRound")
    assert anna.contract.round_and_stage() == (1, 0)
    assert refusal(anna, "submitReward", 0, 2, 5, "QmA") == "InvalidStageNumber"
    assert refusal(anna, "submitReward", 1, 1, 5, "QmA") == "InvalidStageNumber"


def test_a_round_without_stages_is_refused(chain):
    with pytest.raises(Reverted, match="StageOutOfBounds"):
        deploy(chain, chain.person(), 0)


# -------------------------------------------------------------------------------------------------------------- rewards


def test_a_reward_is_kept_by_peer_and_by_account(chain):
    anna = chain.person()
    anna.do("registerPeer", "QmA1")
    anna.do("registerPeer", "QmA2")
    receipt = anna.do("submitReward", 0, 0, 7, "QmA1")
    assert events(anna, receipt, "RewardSubmitted") == [
        {"account": anna.address, "round": 0, "stage": 0, "reward": 7, "peerId": "QmA1"}
    ]
    anna.do("submitReward", 0, 0, -2, "QmA2")
    chain.owner.advance_round()
    receipt = anna.do("submitReward", 1, 0, 3, "QmA1")
    assert events(anna, receipt, "CumulativeRewardsUpdated") == [
        {"account": anna.address, "peerId": "QmA1", "totalRewards": 10}
    ]
    assert anna.contract.read("getTotalRewards", ["QmA1", "QmA2", "QmNobody"]) == [10, -2, 0]
    assert anna.contract.read("getRoundStageReward", 0, 0, [anna.address, NOBODY]) == [5, 0]
    assert anna.contract.read("hasSubmittedRoundStageReward", 0, 0, "QmA1") is True
    assert anna.contract.read("hasSubmittedRoundStageReward", 1, 0, "QmA2") is False


def test_a_reward_is_taken_once_per_peer_round_and_stage(chain):
    anna = chain.person()
    anna.do("registerPeer", "QmA1")
    anna.do("registerPeer", "QmA2")
    anna.do("submitReward", 0, 0, 7, "QmA1")
    assert refusal(anna, "submitReward", 0, 0, 8, "QmA1") == "RewardAlreadySubmitted"
    anna.do("submitReward", 0, 0, 8, "QmA2")  # the second peer of one account isn't in its way
    assert anna.contract.read("getTotalRewards", ["QmA1", "QmA2"]) == [7, 8]


@pytest.mark.parametrize("reward", [2**63 - 1, 2**63, -(2**63) + 1, -(2**63), -(2**63) - 1, 2**255 - 1, -(2**255)])
def test_a_reward_of_any_size_is_kept_to_the_last_bit(chain, reward):
    anna = chain.person()
    for peer in ("QmA1", "QmA2"):
        anna.do("registerPeer", peer)
    anna.do("submitReward", 0, 0, reward, "QmA1")
    chain.owner.advance_round()
    anna.do("submitReward", 1, 0, 1 if reward < 0 else -1, "QmA1")  # beside it in the contract's memory
    back = -reward if reward > -(2**255) else 2**255 - 1
    assert anna.contract.read("getRoundStageReward", 0, 0, [anna.address]) == [reward]
    anna.do("submitReward", 0, 0, back, "QmA2")
    assert anna.contract.read("getRoundStageReward", 0, 0, [anna.address]) == [reward + back]
    assert anna.contract.read("getRoundStageReward", 1, 0, [anna.address]) == [1 if reward < 0 else -1]


def test_rewards_and_votes_of_neighbouring_rounds_stay_apart(chain):
    anna = chain.person()
    anna.do("registerPeer", "QmA")
    for _ in range(17):
        chain.owner.advance_round()
    for round in range(0, 18, 2):
        anna.do("submitReward", round, 0, -round, "QmA")
        anna.do("submitWinners", round, [f"Qm{round}", "QmA"], "QmA")
    read = anna.contract.read
    for round in range(18):
        played = round % 2 == 0
        assert read("hasSubmittedRoundStageReward", round, 0, "QmA") is played
        assert read("getRoundStageReward", round, 0, [anna.address]) == [-round if played else 0]
        assert read("getVoterVotes", round, "QmA") == ([f"Qm{round}", "QmA"] if played else [])
        assert read("getPeerVoteCount", round, "QmA") == int(played)
        assert read("getPeerVoteCount", round, f"Qm{round}") == int(played)
    assert (read("getTotalWins", "QmA"), read("uniqueVotedPeers")) == (9, 10)


def test_a_round_or_stage_that_never_was_shows_nothing(chain):
    anna = chain.person()
    anna.do("registerPeer", "QmA")
    anna.do("submitReward", 0, 0, 7, "QmA")
    for round, stage in ((2**256 - 1, 0), (0, 2**256 - 1), (256, 0), (0, 1)):
        assert anna.contract.read("hasSubmittedRoundStageReward", round, stage, "QmA") is False
        assert anna.contract.read("getRoundStageReward", round, stage, [anna.address]) == [0]
    assert anna.contract.read("getVoterVotes", 2**256 - 1, "QmA") == []


def test_a_reward_for_a_future_round_or_stage_is_refused(chain):
    anna = chain.person()
    anna.do("registerPeer", "QmA")
    assert refusal(anna, "submitReward", 1, 0, 7, "QmA") == "InvalidRoundNumber"
    assert refusal(anna, "submitReward", 0, 1, 7, "QmA") == "InvalidStageNumber"


def test_a_reward_for_somebody_elses_peer_is_refused(chain):
    anna, ben = chain.person(), chain.person()
    anna.do("registerPeer", "QmA")
    assert refusal(ben, "submitReward", 0, 0, 7, "QmA") == "InvalidVoterPeerId"
    assert refusal(ben, "submitReward", 0, 0, 7, "QmNobody") == "InvalidVoterPeerId"


OLD_ABI = [
    {
        "type": "function",
        "name": "submitReward",
        "stateMutability": "nonpayable",
        "inputs": [
            {"name": "roundNumber", "type": "uint256"},
            {"name": "stageNumber", "type": "uint256"},
            {"name": "reward", "type": "uint256"},
            {"name": "peerId", "type": "string"},
        ],
        "outputs": [],
    }
]


def test_the_first_clients_report_rewards_by_a_function_of_their_own(chain):
    anna = chain.person()
    anna.do("registerPeer", "QmA")
    old = anna.contract.web3.eth.contract(address=anna.contract.address, abi=OLD_ABI)
    transactor = Transactor(anna.contract, anna.account)
    receipt = transactor.execute(old.functions.submitReward(0, 0, 7, "QmA"))
    assert [each["reward"] for each in events(anna, receipt, "RewardSubmitted")] == [7]
    assert anna.contract.read("getTotalRewards", ["QmA"]) == [7]
    assert refusal(anna, "submitReward", 0, 0, 7, "QmA") == "RewardAlreadySubmitted"


def test_a_reward_of_the_first_clients_that_fits_in_no_reward_is_refused(chain):
    anna = chain.person()
    anna.do("registerPeer", "QmA")
    old = anna.contract.web3.eth.contract(address=anna.contract.address, abi=OLD_ABI)
    with pytest.raises(Reverted, match="RewardTooLarge"):
        Transactor(anna.contract, anna.account).execute(old.functions.submitReward(0, 0, 2**255, "QmA"))
    assert anna.contract.read("getTotalRewards", ["QmA"]) == [0]


# ---------------------------------------------------------------------------------------------------------------- votes


def test_a_vote_counts_for_every_winner(chain):
    anna, ben = chain.person(), chain.person()
    anna.do("registerPeer", "QmA")
    ben.do("registerPeer", "QmB")
    receipt = anna.do("submitWinners", 0, ["QmB", "QmA"], "QmA")
    assert events(anna, receipt, "WinnerSubmitted") == [
        {"account": anna.address, "peerId": "QmA", "round": 0, "winners": ["QmB", "QmA"]}
    ]
    ben.do("submitWinners", 0, ["QmB"], "QmB")
    chain.owner.advance_round()
    anna.do("submitWinners", 1, ["QmB"], "QmA")
    read = anna.contract.read
    assert read("getVoterVotes", 0, "QmA") == ["QmB", "QmA"]
    assert read("getVoterVotes", 1, "QmB") == []
    assert (read("getTotalWins", "QmB"), read("getTotalWins", "QmA"), read("getTotalWins", "QmC")) == (3, 1, 0)
    assert (read("getPeerVoteCount", 0, "QmB"), read("getPeerVoteCount", 1, "QmB")) == (2, 1)
    assert (read("getVoterVoteCount", "QmA"), read("getVoterVoteCount", "QmB")) == (2, 1)
    assert (read("uniqueVoters"), read("uniqueVotedPeers")) == (2, 2)


def test_a_peer_votes_once_a_round(chain):
    anna = chain.person()
    anna.do("registerPeer", "QmA")
    anna.do("submitWinners", 0, ["QmB"], "QmA")
    assert refusal(anna, "submitWinners", 0, ["QmC"], "QmA") == "WinnerAlreadyVoted"


def test_a_vote_for_a_past_round_is_taken_and_for_a_future_one_refused(chain):
    anna = chain.person()
    anna.do("registerPeer", "QmA")
    chain.owner.advance_round()
    anna.do("submitWinners", 0, ["QmA"], "QmA")
    assert refusal(anna, "submitWinners", 2, ["QmA"], "QmA") == "InvalidRoundNumber"
    assert anna.contract.read("getVoterVotes", 0, "QmA") == ["QmA"]


def test_a_vote_of_somebody_elses_peer_is_refused(chain):
    anna, ben = chain.person(), chain.person()
    anna.do("registerPeer", "QmA")
    assert refusal(ben, "submitWinners", 0, ["QmB"], "QmA") == "InvalidVoterPeerId"


@pytest.mark.parametrize("winners", [[], ["QmB", "QmB"], ["QmB", "QmC", "QmB"]])
def test_an_empty_or_repeating_vote_is_refused(chain, winners):
    anna = chain.person()
    anna.do("registerPeer", "QmA")
    assert refusal(anna, "submitWinners", 0, winners, "QmA") == "InvalidVote"


# ------------------------------------------------------------------------------------------------------------ bootnodes


def test_a_bootnode_manager_keeps_the_list(chain):
    owner = chain.owner_person
    receipt = owner.do("addBootnodes", ["/a", "/b", "/c"])
    assert events(owner, receipt, "BootnodesAdded") == [{"manager": owner.address, "count": 3}]
    receipt = owner.do("removeBootnode", 0)
    assert events(owner, receipt, "BootnodeRemoved") == [{"manager": owner.address, "index": 0}]
    assert owner.contract.bootnodes() == ["/c", "/b"]
    assert owner.contract.read("getBootnodesCount") == 2
    assert refusal(owner, "removeBootnode", 2) == "InvalidBootnodeIndex"
    receipt = owner.do("clearBootnodes")
    assert events(owner, receipt, "AllBootnodesCleared") == [{"manager": owner.address}]
    assert owner.contract.bootnodes() == []


@pytest.mark.parametrize(
    ("function", "arguments"), [("addBootnodes", [["/a"]]), ("removeBootnode", [0]), ("clearBootnodes", [])]
)
def test_nobody_else_touches_the_bootnodes(chain, function, arguments):
    assert refusal(chain.person(), function, *arguments) == "OnlyBootnodeManager"


# ---------------------------------------------------------------------------------------------------------------- roles


def test_the_owner_has_all_roles_and_hands_them_out(chain):
    owner, anna = chain.owner_person, chain.person()
    read = owner.contract.read
    stage_manager = read("STAGE_MANAGER_ROLE")
    for role in ("OWNER_ROLE", "STAGE_MANAGER_ROLE", "BOOTNODE_MANAGER_ROLE"):
        assert read("hasRole", read(role), owner.address) is True
        assert read("hasRole", read(role), anna.address) is False

    receipt = owner.do("grantRole", stage_manager, anna.address)
    named = {"role": stage_manager, "account": anna.address, "sender": owner.address}
    assert events(owner, receipt, "RoleGranted") == [named]
    assert events(owner, owner.do("grantRole", stage_manager, anna.address), "RoleGranted") == [named]
    anna.do("updateStageAndRound")
    assert refusal(anna, "addBootnodes", ["/a"]) == "OnlyBootnodeManager"

    assert events(owner, owner.do("revokeRole", stage_manager, anna.address), "RoleRevoked") == [named]
    assert events(owner, owner.do("revokeRole", stage_manager, anna.address), "RoleRevoked") == []
    assert refusal(anna, "updateStageAndRound") == "OnlyStageManager"


def test_only_an_owner_hands_out_roles(chain):
    anna = chain.person()
    role = anna.contract.read("OWNER_ROLE")
    assert refusal(anna, "grantRole", role, anna.address) == "OnlyOwner"
    assert refusal(anna, "revokeRole", role, chain.devnet.owner.address) == "OnlyOwner"


def test_a_contract_is_initialized_once_and_only_by_its_deployer(chain):
    anna, thief = chain.person(), chain.person()
    assert refusal(chain.owner_person, "initialize", anna.address) == "InvalidInitialization"
    fresh = deploy(chain, anna, 1)
    assert refusal(fresh.person(thief.account), "initialize", thief.address) == "OnlyOwner"
    fresh.person(anna.account).do("initialize", anna.address)
    assert fresh.contract.read("hasRole", fresh.contract.read("OWNER_ROLE"), anna.address) is True


# ------------------------------------------------------------------------------------------------------------------ abi


def test_error_selectors_are_those_of_the_public_contract():
    # Observed on the public testnet.
    known = {
        "0x723dc675": "PeerIdAlreadyRegistered",
        "0x1614b50c": "InvalidVoterPeerId",
        "0xe39ce02e": "RewardAlreadySubmitted",
        "0x3d51d827": "WinnerAlreadyVoted",
    }
    assert known.items() <= error_selectors().items()


def test_every_error_that_the_contract_can_raise_is_met_in_this_file():
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in text or f'match="{name}"' in text for name in error_selectors().values())


def test_a_new_account_without_money_can_write(chain):
    poor = chain.person(Account.create())
    poor.do("registerPeer", "QmPoor")
    assert chain.contract.web3.eth.get_balance(poor.address) == 0
    assert chain.contract.registered_to("QmPoor") == poor.address

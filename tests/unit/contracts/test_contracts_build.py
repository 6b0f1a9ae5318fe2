"""The committed contract is what its sources compile to, and it speaks the public testnet's language."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from eth_utils.abi import abi_to_signature

from rgym_exp.chain.contract import ARTIFACTS, artifact
from tests.support.compiler import CONTRACTS, node_with_compiler

CONTRACT_NAMES = ("SwarmCoordinator", "PredictionMarket")
FUNCTIONS = """
addBootnodes(string[]) clearBootnodes() removeBootnode(uint256) getBootnodes() getBootnodesCount()
currentRound() currentStage() stageCount() updateStageAndRound() initialize(address)
getEoa(string[]) getPeerId(address[]) registerPeer(string)
submitReward(uint256,uint256,int256,string) getRoundStageReward(uint256,uint256,address[]) getTotalRewards(string[])
hasSubmittedRoundStageReward(uint256,uint256,string)
submitWinners(uint256,string[],string) getVoterVotes(uint256,string) getVoterVoteCount(string) getTotalWins(string)
uniqueVoters() getPeerVoteCount(uint256,string) uniqueVotedPeers()
hasRole(bytes32,address) grantRole(bytes32,address) revokeRole(bytes32,address)
OWNER_ROLE() STAGE_MANAGER_ROLE() BOOTNODE_MANAGER_ROLE()
"""
EVENTS = """
PeerRegistered(address,string) RewardSubmitted(address,uint256,uint256,int256,string)
CumulativeRewardsUpdated(address,string,int256) WinnerSubmitted(address,string,uint256,string[])
StageAdvanced(uint256,uint256) RoundAdvanced(uint256) BootnodesAdded(address,uint256) BootnodeRemoved(address,uint256)
AllBootnodesCleared(address) RoleGranted(bytes32,address,address) RoleRevoked(bytes32,address,address)
"""
ERRORS = """
PeerIdAlreadyRegistered InvalidRoundNumber InvalidStageNumber InvalidVote InvalidVoterPeerId WinnerAlreadyVoted
RewardAlreadySubmitted InvalidBootnodeIndex StageOutOfBounds OnlyOwner OnlyStageManager OnlyBootnodeManager
"""
ONLY_OURS = {"InvalidInitialization()", "RewardTooLarge()"}

# Which arguments of the public contracts' events are topics, by which everybody looks for them; the others are data.
TOPICS = {
    "SwarmCoordinator": """
        PeerRegistered:eoa RewardSubmitted:account,round,stage CumulativeRewardsUpdated:account
        WinnerSubmitted:account,round StageAdvanced:round RoundAdvanced:newRound BootnodesAdded:manager
        BootnodeRemoved:manager AllBootnodesCleared:manager RoleGranted:role,account,sender
        RoleRevoked:role,account,sender
    """,
    "PredictionMarket": """
        NewGameCreated:game NewGuess:game RoundIncremented:game AnswerRevealed:game RewardClaimed:game
        OwnershipTransferred:previousOwner,newOwner
    """,
}

# What is known of the public testnet's market; ours has more.
MARKET = """
createNewGame(uint256,uint256,bytes32) incrementRound(uint256) revealAnswer(uint256,uint256,uint256)
guessAnswer(uint256,string,uint256,uint256,uint256) claimReward(uint256,string)
betTokenBalance(string) choiceCount(uint256) choiceSupply(uint256,uint256) choiceTokenBalance(uint256,uint256,string)
choiceTokensOut(uint256,uint256,uint256,uint256) currentRoundIdx(uint256) gameStatus(uint256)
price(uint256,uint256,uint256) totalBets(uint256) owner()
NewGameCreated(uint256,uint256,uint256,uint256) NewGuess(uint256,address,string,uint256,uint256,uint256)
RoundIncremented(uint256,uint256) AnswerRevealed(uint256,uint256,uint256)
RewardClaimed(uint256,address,string,uint256,uint256)
"""


@pytest.fixture(scope="session")
def node() -> str:
    return node_with_compiler()


def test_a_rebuild_gives_the_committed_bytes(node):
    checked = subprocess.run([node, "build.mjs", "--check"], cwd=CONTRACTS, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_no_contract_of_a_test_is_built():
    assert {item.name for item in ARTIFACTS.iterdir()} == {f"{name}.json" for name in CONTRACT_NAMES}


@pytest.mark.parametrize("name", CONTRACT_NAMES)
def test_a_contract_is_small_enough_for_every_chain(name):
    # EIP-170: 24 KiB of code at most. The creation code is a little longer than that.
    assert len(artifact(name)["bytecode"]) // 2 <= 24 * 1024


def test_the_market_has_all_that_the_public_one_is_known_by():
    built = {abi_to_signature(entry) for entry in artifact("PredictionMarket")["abi"] if entry["type"] != "constructor"}
    assert set(MARKET.split()) - built == set()


@pytest.mark.parametrize(("kind", "expected"), [("function", FUNCTIONS), ("event", EVENTS), ("error", ERRORS)])
def test_the_interface_is_that_of_the_public_contract(kind, expected):
    built = {abi_to_signature(entry) for entry in artifact()["abi"] if entry["type"] == kind} - ONLY_OURS
    names = expected.split() if kind != "error" else [f"{name}()" for name in expected.split()]
    assert built == set(names)


@pytest.mark.parametrize("name", CONTRACT_NAMES)
def test_the_events_have_the_topics_of_the_public_contracts(name):
    events = [entry for entry in artifact(name)["abi"] if entry["type"] == "event" and entry["name"] != "GameCancelled"]
    built = {f"{each['name']}:{','.join(one['name'] for one in each['inputs'] if one['indexed'])}" for each in events}
    assert built == set(TOPICS[name].split())


def test_the_lock_file_names_no_registry():
    lock = json.loads((CONTRACTS / "package-lock.json").read_text())
    assert all("resolved" not in package for package in lock["packages"].values())


def test_the_artifact_is_found_from_anywhere(tmp_path):
    script = "from rgym_exp.chain.contract import ARTIFACTS, artifact; print(len(artifact()['bytecode']))"
    repository = str(CONTRACTS.parent)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": repository},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == len(artifact()["bytecode"])

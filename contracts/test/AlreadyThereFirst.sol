// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ISwarmCoordinator} from "interfaces/ISwarmCoordinator.sol";

/// @notice A coordinator that looks whether a reward or a vote is there before it looks whose peer it is, as the one on
/// the public testnet does.
contract AlreadyThereFirst {
    mapping(string peerId => address) private _accountOf;
    mapping(string peerId => mapping(uint256 round => bool)) private _hasReward;
    mapping(string peerId => mapping(uint256 round => bool)) private _hasVote;

    function currentRound() external pure returns (uint256) {
        return 0;
    }

    function getEoa(string[] calldata peerIds) external view returns (address[] memory accounts) {
        accounts = new address[](peerIds.length);
        for (uint256 i; i < peerIds.length; i++) {
            accounts[i] = _accountOf[peerIds[i]];
        }
    }

    function registerPeer(string calldata peerId) external {
        if (_accountOf[peerId] != address(0)) revert ISwarmCoordinator.PeerIdAlreadyRegistered();
        _accountOf[peerId] = msg.sender;
    }

    function submitReward(uint256 roundNumber, uint256, int256, string calldata peerId) external {
        if (_hasReward[peerId][roundNumber]) revert ISwarmCoordinator.RewardAlreadySubmitted();
        if (_accountOf[peerId] != msg.sender) revert ISwarmCoordinator.InvalidVoterPeerId();
        _hasReward[peerId][roundNumber] = true;
    }

    function submitWinners(uint256 roundNumber, string[] calldata, string calldata peerId) external {
        if (_hasVote[peerId][roundNumber]) revert ISwarmCoordinator.WinnerAlreadyVoted();
        if (_accountOf[peerId] != msg.sender) revert ISwarmCoordinator.InvalidVoterPeerId();
        _hasVote[peerId][roundNumber] = true;
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ISwarmCoordinator} from "./interfaces/ISwarmCoordinator.sol";

/// @title SwarmCoordinator
/// @notice See ISwarmCoordinator for what each function promises.
contract SwarmCoordinator is ISwarmCoordinator {
    bytes32 public constant OWNER_ROLE = keccak256("OWNER_ROLE");
    bytes32 public constant STAGE_MANAGER_ROLE = keccak256("STAGE_MANAGER_ROLE");
    bytes32 public constant BOOTNODE_MANAGER_ROLE = keccak256("BOOTNODE_MANAGER_ROLE");

    uint256 public immutable stageCount;
    uint256 public currentRound;
    uint256 public currentStage;
    uint256 public uniqueVoters;
    uint256 public uniqueVotedPeers;

    /// @dev Who may call `initialize`: otherwise anybody could take the contract between the two transactions.
    address private immutable _deployer;
    bool private _initialized;

    mapping(bytes32 role => mapping(address account => bool)) private _roles;

    mapping(string peerId => address) private _accountOf;
    mapping(address account => string[] peerIds) private _peersOf;

    mapping(uint256 round => mapping(uint256 stage => mapping(string peerId => bool))) private _hasSubmitted;
    mapping(uint256 round => mapping(uint256 stage => mapping(address account => int256))) private _stageReward;
    mapping(string peerId => int256) private _totalReward;

    mapping(uint256 round => mapping(string peerId => string[] winners)) private _votes;
    mapping(uint256 round => mapping(string peerId => uint256)) private _wins;
    mapping(string peerId => uint256) private _voteCount;
    mapping(string peerId => uint256) private _totalWins;

    string[] private _bootnodes;

    /// @param stagesPerRound 1 for the swarm as it trains today.
    constructor(uint256 stagesPerRound) {
        if (stagesPerRound == 0) revert StageOutOfBounds();
        stageCount = stagesPerRound;
        _deployer = msg.sender;
    }

    modifier onlyOwner() {
        if (!_roles[OWNER_ROLE][msg.sender]) revert OnlyOwner();
        _;
    }

    modifier onlyStageManager() {
        if (!_roles[STAGE_MANAGER_ROLE][msg.sender]) revert OnlyStageManager();
        _;
    }

    modifier onlyBootnodeManager() {
        if (!_roles[BOOTNODE_MANAGER_ROLE][msg.sender]) revert OnlyBootnodeManager();
        _;
    }

    // ------------------------------------------------------------------- roles

    function initialize(address owner) external {
        if (_initialized) revert InvalidInitialization();
        if (msg.sender != _deployer) revert OnlyOwner();
        _initialized = true;
        _grant(OWNER_ROLE, owner);
        _grant(STAGE_MANAGER_ROLE, owner);
        _grant(BOOTNODE_MANAGER_ROLE, owner);
    }

    function grantRole(bytes32 role, address account) external onlyOwner {
        _grant(role, account);
    }

    function revokeRole(bytes32 role, address account) external onlyOwner {
        if (!_roles[role][account]) return;
        _roles[role][account] = false;
        emit RoleRevoked(role, account, msg.sender);
    }

    function hasRole(bytes32 role, address account) external view returns (bool) {
        return _roles[role][account];
    }

    // ------------------------------------------------------------------ rounds

    function updateStageAndRound() external onlyStageManager returns (uint256 round, uint256 stage) {
        if (currentStage + 1 < stageCount) {
            currentStage++;
            emit StageAdvanced(currentRound, currentStage);
        } else {
            currentRound++;
            currentStage = 0;
            emit RoundAdvanced(currentRound);
        }
        return (currentRound, currentStage);
    }

    // ------------------------------------------------------------------- peers

    function registerPeer(string calldata peerId) external {
        if (bytes(peerId).length == 0) revert InvalidVoterPeerId();
        if (_accountOf[peerId] != address(0)) revert PeerIdAlreadyRegistered();
        _accountOf[peerId] = msg.sender;
        _peersOf[msg.sender].push(peerId);
        emit PeerRegistered(msg.sender, peerId);
    }

    function getPeerId(address[] calldata eoas) external view returns (string[][] memory peerIds) {
        peerIds = new string[][](eoas.length);
        for (uint256 i; i < eoas.length; i++) {
            peerIds[i] = _peersOf[eoas[i]];
        }
    }

    function getEoa(string[] calldata peerIds) external view returns (address[] memory accounts) {
        accounts = new address[](peerIds.length);
        for (uint256 i; i < peerIds.length; i++) {
            accounts[i] = _accountOf[peerIds[i]];
        }
    }

    // ----------------------------------------------------------------- rewards

    function submitReward(uint256 roundNumber, uint256 stageNumber, int256 reward, string calldata peerId) external {
        if (roundNumber > currentRound) revert InvalidRoundNumber();
        bool stageHasBegun = roundNumber < currentRound ? stageNumber < stageCount : stageNumber <= currentStage;
        if (!stageHasBegun) revert InvalidStageNumber();
        if (_accountOf[peerId] != msg.sender) revert InvalidVoterPeerId();
        if (_hasSubmitted[roundNumber][stageNumber][peerId]) revert RewardAlreadySubmitted();

        _hasSubmitted[roundNumber][stageNumber][peerId] = true;
        _stageReward[roundNumber][stageNumber][msg.sender] += reward;
        _totalReward[peerId] += reward;
        emit RewardSubmitted(msg.sender, roundNumber, stageNumber, reward, peerId);
        emit CumulativeRewardsUpdated(msg.sender, peerId, _totalReward[peerId]);
    }

    function getRoundStageReward(uint256 roundNumber, uint256 stageNumber, address[] calldata accounts)
        external
        view
        returns (int256[] memory rewards)
    {
        rewards = new int256[](accounts.length);
        for (uint256 i; i < accounts.length; i++) {
            rewards[i] = _stageReward[roundNumber][stageNumber][accounts[i]];
        }
    }

    function hasSubmittedRoundStageReward(uint256 roundNumber, uint256 stageNumber, string calldata peerId)
        external
        view
        returns (bool)
    {
        return _hasSubmitted[roundNumber][stageNumber][peerId];
    }

    function getTotalRewards(string[] calldata peerIds) external view returns (int256[] memory rewards) {
        rewards = new int256[](peerIds.length);
        for (uint256 i; i < peerIds.length; i++) {
            rewards[i] = _totalReward[peerIds[i]];
        }
    }

    // ------------------------------------------------------------------- votes

    function submitWinners(uint256 roundNumber, string[] calldata winners, string calldata peerId) external {
        if (roundNumber > currentRound) revert InvalidRoundNumber();
        if (_accountOf[peerId] != msg.sender) revert InvalidVoterPeerId();
        // A vote is never empty, so a stored one is all the memory that "has voted" needs.
        if (_votes[roundNumber][peerId].length != 0) revert WinnerAlreadyVoted();
        _refuseEmptyOrRepeated(winners);

        if (_voteCount[peerId] == 0) uniqueVoters++;
        _voteCount[peerId]++;
        for (uint256 i; i < winners.length; i++) {
            if (_totalWins[winners[i]] == 0) uniqueVotedPeers++;
            _totalWins[winners[i]]++;
            _wins[roundNumber][winners[i]]++;
            _votes[roundNumber][peerId].push(winners[i]);
        }
        emit WinnerSubmitted(msg.sender, peerId, roundNumber, winners);
    }

    function getVoterVotes(uint256 roundNumber, string calldata peerId) external view returns (string[] memory) {
        return _votes[roundNumber][peerId];
    }

    function getVoterVoteCount(string calldata peerId) external view returns (uint256) {
        return _voteCount[peerId];
    }

    function getPeerVoteCount(uint256 roundNumber, string calldata peerId) external view returns (uint256) {
        return _wins[roundNumber][peerId];
    }

    function getTotalWins(string calldata peerId) external view returns (uint256) {
        return _totalWins[peerId];
    }

    // --------------------------------------------------------------- bootnodes

    function addBootnodes(string[] calldata newBootnodes) external onlyBootnodeManager {
        for (uint256 i; i < newBootnodes.length; i++) {
            _bootnodes.push(newBootnodes[i]);
        }
        emit BootnodesAdded(msg.sender, newBootnodes.length);
    }

    function removeBootnode(uint256 index) external onlyBootnodeManager {
        if (index >= _bootnodes.length) revert InvalidBootnodeIndex();
        _bootnodes[index] = _bootnodes[_bootnodes.length - 1];
        _bootnodes.pop();
        emit BootnodeRemoved(msg.sender, index);
    }

    function clearBootnodes() external onlyBootnodeManager {
        delete _bootnodes;
        emit AllBootnodesCleared(msg.sender);
    }

    function getBootnodes() external view returns (string[] memory) {
        return _bootnodes;
    }

    function getBootnodesCount() external view returns (uint256) {
        return _bootnodes.length;
    }

    // ----------------------------------------------------------------- private

    function _grant(bytes32 role, address account) private {
        if (_roles[role][account]) return;
        _roles[role][account] = true;
        emit RoleGranted(role, account, msg.sender);
    }

    /// @dev Quadratic in the number of winners, which the voter pays for; real votes name one or two.
    function _refuseEmptyOrRepeated(string[] calldata winners) private pure {
        if (winners.length == 0) revert InvalidVote();
        bytes32[] memory seen = new bytes32[](winners.length);
        for (uint256 i; i < winners.length; i++) {
            seen[i] = keccak256(bytes(winners[i]));
            for (uint256 j; j < i; j++) {
                if (seen[i] == seen[j]) revert InvalidVote();
            }
        }
    }
}

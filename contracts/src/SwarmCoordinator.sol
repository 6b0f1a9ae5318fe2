// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ISwarmCoordinator} from "./interfaces/ISwarmCoordinator.sol";

/// @title SwarmCoordinator
/// @notice See ISwarmCoordinator for what each function promises.
/// @dev What is kept for each peer and round stays for ever, and a hub's chain has all of it in memory and writes it to
/// disk every few seconds. So rounds lie side by side in a slot, and names are kept once and then told by number: half a
/// slot for a reward and a vote for one winner, where a slot for each fact would take seven.
contract SwarmCoordinator is ISwarmCoordinator {
    bytes32 public constant OWNER_ROLE = keccak256("OWNER_ROLE");
    bytes32 public constant STAGE_MANAGER_ROLE = keccak256("STAGE_MANAGER_ROLE");
    bytes32 public constant BOOTNODE_MANAGER_ROLE = keccak256("BOOTNODE_MANAGER_ROLE");

    int64 private constant IN_LARGE = type(int64).min;

    uint256 public immutable stageCount;
    uint256 public currentRound;
    uint256 public currentStage;
    uint256 public uniqueVoters;

    /// @dev Who may call `initialize`: otherwise anybody could take the contract between the two transactions.
    address private immutable _deployer;
    bool private _initialized;

    mapping(bytes32 role => mapping(address account => bool)) private _roles;

    mapping(string peerId => address) private _accountOf;
    mapping(address account => string[] peerIds) private _peersOf;

    /// @dev A bit for each of 256 rounds.
    mapping(string peerId => mapping(uint256 stage => mapping(uint256 rounds => uint256 bits))) private _hasSubmitted;
    /// @dev Of four rounds each; IN_LARGE stands for one that needs more bits, which is in `_largeReward`.
    mapping(address account => mapping(uint256 stage => mapping(uint256 rounds => int64[4]))) private _stageReward;
    mapping(address account => mapping(uint256 stage => mapping(uint256 round => int256))) private _largeReward;
    mapping(string peerId => int256) private _totalReward;

    struct Candidate {
        /// @dev The place of its name in `_names`, plus one; 0 for who never got a vote.
        uint32 number;
        uint224 wins;
    }

    string[] private _names;
    mapping(string peerId => Candidate) private _candidates;
    /// @dev The number of the first winner of each of eight rounds; 0 where the peer did not vote.
    mapping(string peerId => mapping(uint256 rounds => uint32[8])) private _firstWinner;
    mapping(string peerId => mapping(uint256 round => uint32[])) private _furtherWinners;
    /// @dev Of eight rounds each.
    mapping(string peerId => mapping(uint256 rounds => uint32[8])) private _wins;
    mapping(string peerId => uint256) private _voteCount;

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
        } else {
            currentRound++;
            currentStage = 0;
            emit RoundAdvanced(currentRound);
        }
        emit StageAdvanced(currentRound, currentStage);
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
        _submitReward(roundNumber, stageNumber, reward, peerId);
    }

    function submitReward(uint256 roundNumber, uint256 stageNumber, uint256 reward, string calldata peerId) external {
        if (reward > uint256(type(int256).max)) revert RewardTooLarge();
        _submitReward(roundNumber, stageNumber, int256(reward), peerId);
    }

    function _submitReward(uint256 roundNumber, uint256 stageNumber, int256 reward, string calldata peerId) private {
        if (roundNumber > currentRound) revert InvalidRoundNumber();
        bool stageHasBegun = roundNumber < currentRound ? stageNumber < stageCount : stageNumber <= currentStage;
        if (!stageHasBegun) revert InvalidStageNumber();
        if (_accountOf[peerId] != msg.sender) revert InvalidVoterPeerId();
        uint256 bits = _hasSubmitted[peerId][stageNumber][roundNumber / 256];
        uint256 bit = 1 << (roundNumber % 256);
        if (bits & bit != 0) revert RewardAlreadySubmitted();

        _hasSubmitted[peerId][stageNumber][roundNumber / 256] = bits | bit;
        _addStageReward(roundNumber, stageNumber, reward);
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
            rewards[i] = _stageRewardOf(roundNumber, stageNumber, accounts[i]);
        }
    }

    function hasSubmittedRoundStageReward(uint256 roundNumber, uint256 stageNumber, string calldata peerId)
        external
        view
        returns (bool)
    {
        return (_hasSubmitted[peerId][stageNumber][roundNumber / 256] >> (roundNumber % 256)) & 1 == 1;
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
        uint32[8] storage firstWinner = _firstWinner[peerId][roundNumber / 8];
        // A vote is never empty, so a stored one is all the memory that "has voted" needs.
        if (firstWinner[roundNumber % 8] != 0) revert WinnerAlreadyVoted();
        _refuseEmptyOrRepeated(winners);

        if (_voteCount[peerId] == 0) uniqueVoters++;
        _voteCount[peerId]++;
        firstWinner[roundNumber % 8] = _countVote(roundNumber, winners[0]);
        for (uint256 i = 1; i < winners.length; i++) {
            _furtherWinners[peerId][roundNumber].push(_countVote(roundNumber, winners[i]));
        }
        emit WinnerSubmitted(msg.sender, peerId, roundNumber, winners);
    }

    function getVoterVotes(uint256 roundNumber, string calldata peerId) external view returns (string[] memory) {
        uint32 first = _firstWinner[peerId][roundNumber / 8][roundNumber % 8];
        if (first == 0) return new string[](0);
        uint32[] storage further = _furtherWinners[peerId][roundNumber];
        string[] memory winners = new string[](1 + further.length);
        winners[0] = _names[first - 1];
        for (uint256 i; i < further.length; i++) {
            winners[i + 1] = _names[further[i] - 1];
        }
        return winners;
    }

    function getVoterVoteCount(string calldata peerId) external view returns (uint256) {
        return _voteCount[peerId];
    }

    function getPeerVoteCount(uint256 roundNumber, string calldata peerId) external view returns (uint256) {
        return _wins[peerId][roundNumber / 8][roundNumber % 8];
    }

    function getTotalWins(string calldata peerId) external view returns (uint256) {
        return _candidates[peerId].wins;
    }

    function uniqueVotedPeers() external view returns (uint256) {
        return _names.length;
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
        _roles[role][account] = true;
        emit RoleGranted(role, account, msg.sender);
    }

    function _addStageReward(uint256 roundNumber, uint256 stageNumber, int256 reward) private {
        int256 sum = _stageRewardOf(roundNumber, stageNumber, msg.sender) + reward;
        int64[4] storage rewards = _stageReward[msg.sender][stageNumber][roundNumber / 4];
        if (sum > type(int64).min && sum <= type(int64).max) {
            rewards[roundNumber % 4] = int64(sum);
        } else {
            rewards[roundNumber % 4] = IN_LARGE;
            _largeReward[msg.sender][stageNumber][roundNumber] = sum;
        }
    }

    function _stageRewardOf(uint256 roundNumber, uint256 stageNumber, address account) private view returns (int256) {
        int64 reward = _stageReward[account][stageNumber][roundNumber / 4][roundNumber % 4];
        return reward == IN_LARGE ? _largeReward[account][stageNumber][roundNumber] : int256(reward);
    }

    /// @return number The winner's, which it gets with its first vote.
    function _countVote(uint256 roundNumber, string calldata winner) private returns (uint32 number) {
        Candidate storage candidate = _candidates[winner];
        number = candidate.number;
        if (number == 0) {
            _names.push(winner);
            number = uint32(_names.length);
            candidate.number = number;
        }
        candidate.wins++;
        _wins[winner][roundNumber / 8][roundNumber % 8]++;
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

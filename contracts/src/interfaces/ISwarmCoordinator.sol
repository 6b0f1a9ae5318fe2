// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title What the swarm keeps on chain
/// @notice Who owns which peer, which round it is, what each peer reports as its reward, and whom it votes for.
/// Names, arguments, events and errors are those of the coordinator on the public testnet, so that one node works
/// with both. Two of its faults are refused here: an empty peer id and an empty list of winners.
/// @dev A "peer id" is a libp2p peer id in base58 text. The contract compares ids as bytes and knows no format.
interface ISwarmCoordinator {
    // ------------------------------------------------------------------ events

    /// @notice `eoa` has taken `peerId` for itself.
    event PeerRegistered(address indexed eoa, string peerId);

    /// @notice A peer has reported its reward of a round and stage.
    event RewardSubmitted(
        address indexed account, uint256 indexed round, uint256 indexed stage, int256 reward, string peerId
    );

    /// @notice The sum of all rewards that `peerId` has reported so far.
    event CumulativeRewardsUpdated(address indexed account, string peerId, int256 totalRewards);

    /// @notice A peer has voted in a round.
    event WinnerSubmitted(address indexed account, string peerId, uint256 indexed round, string[] winners);

    /// @notice The swarm moved on to `newStage` of `round`; 0 with each `RoundAdvanced`, after it.
    event StageAdvanced(uint256 indexed round, uint256 newStage);

    /// @notice The swarm moved on to `newRound`, stage 0.
    event RoundAdvanced(uint256 indexed newRound);

    /// @notice `manager` added `count` bootnodes.
    event BootnodesAdded(address indexed manager, uint256 count);

    /// @notice `manager` removed the bootnode at `index`; the last one took its place.
    event BootnodeRemoved(address indexed manager, uint256 index);

    /// @notice `manager` removed all bootnodes.
    event AllBootnodesCleared(address indexed manager);

    /// @notice `sender` gave `role` to `account`, which may have had it.
    event RoleGranted(bytes32 indexed role, address indexed account, address indexed sender);

    /// @notice `sender` took `role` from `account`.
    event RoleRevoked(bytes32 indexed role, address indexed account, address indexed sender);

    // ------------------------------------------------------------------ errors

    /// @notice The peer id is taken, perhaps by the caller.
    error PeerIdAlreadyRegistered();

    /// @notice The round has not begun.
    error InvalidRoundNumber();

    /// @notice The stage does not exist, or has not begun in the current round.
    error InvalidStageNumber();

    /// @notice The list of winners is empty or names a peer twice.
    error InvalidVote();

    /// @notice The peer id is empty, or the caller has not registered it.
    error InvalidVoterPeerId();

    /// @notice This peer has voted in this round.
    error WinnerAlreadyVoted();

    /// @notice This peer has reported its reward of this round and stage.
    error RewardAlreadySubmitted();

    /// @notice The reward doesn't fit in an int256.
    error RewardTooLarge();

    /// @notice There is no bootnode at this index.
    error InvalidBootnodeIndex();

    /// @notice A round needs at least one stage.
    error StageOutOfBounds();

    /// @notice Only an owner may do this, or, before `initialize`, the account that deployed the contract.
    error OnlyOwner();

    /// @notice Only a stage manager may do this.
    error OnlyStageManager();

    /// @notice Only a bootnode manager may do this.
    error OnlyBootnodeManager();

    /// @notice The contract has its owner already.
    error InvalidInitialization();

    // ------------------------------------------------------------------- roles

    /// @notice Gives `owner` all three roles. Once, and only by the account that deployed the contract.
    function initialize(address owner) external;

    /// @notice Lets `account` have `role`. Owners only. Granting twice changes nothing, and is told twice.
    function grantRole(bytes32 role, address account) external;

    /// @notice Takes `role` from `account`. Owners only. An owner can revoke itself, and then nobody can grant roles.
    function revokeRole(bytes32 role, address account) external;

    function hasRole(bytes32 role, address account) external view returns (bool);

    /// @notice May grant and revoke roles.
    function OWNER_ROLE() external view returns (bytes32);

    /// @notice May advance the round.
    function STAGE_MANAGER_ROLE() external view returns (bytes32);

    /// @notice May change the list of bootnodes.
    function BOOTNODE_MANAGER_ROLE() external view returns (bytes32);

    // ------------------------------------------------------------------ rounds

    /// @notice Moves on to the next stage, or from the last stage to the next round. Stage managers only.
    /// @return round The round that it is now.
    /// @return stage The stage that it is now.
    function updateStageAndRound() external returns (uint256 round, uint256 stage);

    function currentRound() external view returns (uint256);

    function currentStage() external view returns (uint256);

    /// @notice Stages in a round; fixed when the contract is deployed.
    function stageCount() external view returns (uint256);

    // ------------------------------------------------------------------- peers

    /// @notice Takes `peerId` for the caller, for ever. One account may own many peers.
    function registerPeer(string calldata peerId) external;

    /// @notice The peers of each account, in the order in which they were registered.
    function getPeerId(address[] calldata eoas) external view returns (string[][] memory);

    /// @notice The account of each peer; the zero address for a peer that nobody has registered.
    function getEoa(string[] calldata peerIds) external view returns (address[] memory);

    // ----------------------------------------------------------------- rewards

    /// @notice Reports a peer's reward, once per peer, round and stage. Past rounds are accepted, rewards may be negative.
    /// @param peerId The caller's own peer.
    function submitReward(uint256 roundNumber, uint256 stageNumber, int256 reward, string calldata peerId) external;

    /// @notice The same as the first clients of the swarm call it. The built ABI leaves it out: with two functions of a
    /// name, most libraries can't tell which one is meant.
    function submitReward(uint256 roundNumber, uint256 stageNumber, uint256 reward, string calldata peerId) external;

    /// @notice The rewards reported in a round and stage, summed over the peers of each account.
    function getRoundStageReward(uint256 roundNumber, uint256 stageNumber, address[] calldata accounts)
        external
        view
        returns (int256[] memory);

    function hasSubmittedRoundStageReward(uint256 roundNumber, uint256 stageNumber, string calldata peerId)
        external
        view
        returns (bool);

    /// @notice The sum of all rewards that each peer has reported.
    function getTotalRewards(string[] calldata peerIds) external view returns (int256[] memory);

    // ------------------------------------------------------------------- votes

    /// @notice Votes for the winners of a round, once per peer and round. Past rounds, the voter itself and names that
    /// nobody has registered are accepted: judging votes is left to whoever reads them.
    /// @param peerId The caller's own peer.
    function submitWinners(uint256 roundNumber, string[] calldata winners, string calldata peerId) external;

    /// @notice Whom a peer voted for in a round; empty when it did not vote.
    function getVoterVotes(uint256 roundNumber, string calldata peerId) external view returns (string[] memory);

    /// @notice In how many rounds a peer voted.
    function getVoterVoteCount(string calldata peerId) external view returns (uint256);

    /// @notice How many votes a peer got in a round.
    function getPeerVoteCount(uint256 roundNumber, string calldata peerId) external view returns (uint256);

    /// @notice How many votes a peer got in all rounds.
    function getTotalWins(string calldata peerId) external view returns (uint256);

    /// @notice How many peers have ever voted.
    function uniqueVoters() external view returns (uint256);

    /// @notice How many peers have ever been voted for.
    function uniqueVotedPeers() external view returns (uint256);

    // --------------------------------------------------------------- bootnodes

    /// @notice Appends multiaddrs that end in `/p2p/<peer id>`. Bootnode managers only.
    function addBootnodes(string[] calldata newBootnodes) external;

    /// @notice Removes one; the last takes its place, so indices above may change. Bootnode managers only.
    function removeBootnode(uint256 index) external;

    /// @notice Removes all. Bootnode managers only.
    function clearBootnodes() external;

    function getBootnodes() external view returns (string[] memory);

    function getBootnodesCount() external view returns (uint256);
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title A market in which peers bet play tokens on the answer to a question whose clues come one by one
/// @notice Names, arguments and events are those of the market on the public testnet, so that one node works with
/// both. A game has `roundCount` rounds, one per clue, and `choiceCount` possible answers; rounds, choices and games
/// count from 0. In every round a peer may bet once. Bets buy tokens of a choice at the round's price, which rises from
/// round to round:
///
///     price(round) = (round + 1) bet tokens for one choice token
///
/// When the answer is revealed, whoever bet on it gets these bets back and shares all losing bets in proportion to the
/// choice tokens, so that the same bet made earlier earns more:
///
///     payout = own bets on the answer + floor(own tokens of the answer * all losing bets / tokens of the answer)
///
/// If nobody bet on the answer, or the game was abandoned, everybody gets all of their bets back.
///
/// A game never pays out more than was bet in it. On an answer that somebody bet on, let S be its tokens, t(p) those of
/// peer p, B all bets on it and L all losing bets. A bet buys at least the smallest unit of a token, so S > 0, and the
/// t(p) add up to S. The payouts add up to
///
///     B + sum over p of floor(t(p) * L / S)  <=  B + (sum over p of t(p)) * L / S  =  B + L  =  all bets.
///
/// Refunds add up to exactly all bets. Each peer is paid once, so what is left, less than one smallest unit for each
/// winner, stays in the game.
/// @dev Bet tokens are play money with 18 decimals, kept in this contract and not transferable. A registered peer has
/// `WELCOME` of them from the start, and with its first bet in the newest game is topped up to `ALLOWANCE` if it has
/// less. Both are credited by that bet, never by a claim. All amounts are in the smallest unit, 10^-18 of a token.
interface IPredictionMarket {
    // ------------------------------------------------------------------- types

    enum GameStatus {
        Unknown, // there is no such game
        Open, // bets are taken
        Revealed, // the answer is known; winners claim
        Abandoned // cancelled, or left alone by the owner for `ABANDONED_AFTER`; everybody claims a refund
    }

    // ------------------------------------------------------------------ events

    /// @notice A game has begun. Games are numbered from 0.
    event NewGameCreated(uint256 indexed game, uint256 roundCount, uint256 choiceCount, uint256 startTime);

    /// @notice `peerId` has bet.
    event NewGuess(
        uint256 indexed game, address caller, string peerId, uint256 round, uint256 choice, uint256 bet
    );

    /// @notice The next clue is out.
    event RoundIncremented(uint256 indexed game, uint256 timestamp);

    /// @notice The answer is known.
    event AnswerRevealed(uint256 indexed game, uint256 correctChoice, uint256 jobId);

    /// @notice The game ends without an answer.
    event GameCancelled(uint256 indexed game);

    /// @notice `peerId` has been paid `betTokensOut` for its tokens of the answer. These are 0 for a refund.
    event RewardClaimed(
        uint256 indexed game, address caller, string peerId, uint256 correctChoiceTokensIn, uint256 betTokensOut
    );

    // ------------------------------------------------------------------ errors

    /// @notice The coordinator given at deployment isn't a contract.
    error InvalidCoordinator();

    /// @notice There is no such game.
    error GameNotFound();

    /// @notice The game takes no bets, clues or answers any more: it is revealed or abandoned.
    error GameNotOpen();

    /// @notice The game is still open: nothing can be claimed yet.
    error GameStillOpen();

    /// @notice A game needs 1 to `MAX_ROUNDS` rounds and 2 to `MAX_CHOICES` choices.
    error InvalidGame();

    /// @notice The round isn't the current one, or there is none after it.
    error InvalidRound();

    /// @notice The game has no such choice.
    error InvalidChoice();

    /// @notice The bet is too small to buy even the smallest unit of a choice token.
    error InvalidBet();

    /// @notice The bet is more than the peer has.
    error InsufficientBalance();

    /// @notice The peer isn't registered to the caller.
    error NotPeerOwner();

    /// @notice The peer has bet in this round already.
    error AlreadyGuessed();

    /// @notice The peer has claimed this game already.
    error AlreadyClaimed();

    /// @notice The peer has nothing to claim: no bets in this game, or none on the answer.
    error NothingToClaim();

    // ------------------------------------------------------------------- owner

    // For the owner alone (OwnableUnauthorizedAccount for others). Each of these counts as a sign of life, from which
    // `ABANDONED_AFTER` is counted anew; a game that is abandoned by time stays so.

    /// @notice Begin a game, in round 0. `root` commits the owner to clues and answer before the first bet: the contract
    /// keeps it, and whoever is shown them can check them against it.
    function createNewGame(uint256 rounds, uint256 choices, bytes32 root) external returns (uint256 game);

    /// @notice The next clue is out.
    function incrementRound(uint256 game) external;

    /// @notice Tell the answer, in whatever round; from here on no bets. `jobId` is whatever the owner knows the game by.
    function revealAnswer(uint256 game, uint256 answer, uint256 jobId) external;

    /// @notice End an open game without an answer: everybody may claim a refund at once.
    function cancelGame(uint256 game) external;

    // ----------------------------------------------------------------- players

    /// @notice Bet `bet` of `peerId`'s tokens on `choice`; `round` must be the current one. Only the account that
    /// registered the peer may. A bet that is made already is refused as AlreadyGuessed whatever became of the game, so
    /// that whoever missed the first answer learns of it.
    function guessAnswer(uint256 game, string calldata peerId, uint256 round, uint256 choice, uint256 bet) external;

    /// @notice Get what the game pays, once. Only the account that registered the peer may. Never expires.
    function claimReward(uint256 game, string calldata peerId) external;

    // ------------------------------------------------------------------- views
    // Views of a game revert with GameNotFound where there is none, `gameStatus` apart.

    function WELCOME() external view returns (uint256);
    function ALLOWANCE() external view returns (uint256);
    function ABANDONED_AFTER() external view returns (uint256);
    function MAX_ROUNDS() external view returns (uint256);
    function MAX_CHOICES() external view returns (uint256);

    /// @notice The SwarmCoordinator that says whose peer is whose.
    function coordinator() external view returns (address);

    /// @notice How many games there have been.
    function gameCount() external view returns (uint256);

    /// @notice What `peerId` may bet in the newest game, welcome and allowance included; 0 for a peer that nobody
    /// registered. In an older game that is still open the allowance isn't to be had.
    function betTokenBalance(string calldata peerId) external view returns (uint256);

    /// @notice A `GameStatus`, as it is at this block's time.
    function gameStatus(uint256 game) external view returns (uint8);

    function roundCount(uint256 game) external view returns (uint256);
    function choiceCount(uint256 game) external view returns (uint256);
    function currentRoundIdx(uint256 game) external view returns (uint256);
    function merkleRoot(uint256 game) external view returns (bytes32);

    /// @notice The answer of a revealed game. Reverts with GameStillOpen before, with GameNotOpen when abandoned.
    function correctChoice(uint256 game) external view returns (uint256);

    /// @notice Bet tokens (18 decimals) for one choice token (18 decimals) in a round: the same for every choice.
    function price(uint256 game, uint256 round, uint256 choice) external view returns (uint256);

    /// @notice Choice tokens that a bet buys in a round, rounded down.
    function choiceTokensOut(uint256 game, uint256 round, uint256 choice, uint256 bet) external view returns (uint256);

    /// @notice All tokens of a choice.
    function choiceSupply(uint256 game, uint256 choice) external view returns (uint256);

    /// @notice A peer's tokens of a choice.
    function choiceTokenBalance(uint256 game, uint256 choice, string calldata peerId) external view returns (uint256);

    /// @notice What a peer has bet on a choice.
    function choiceBets(uint256 game, uint256 choice, string calldata peerId) external view returns (uint256);

    /// @notice The sum of all bets in a game.
    function totalBets(uint256 game) external view returns (uint256);

    /// @notice Whether a peer has bet in a round.
    function hasGuessed(uint256 game, uint256 round, string calldata peerId) external view returns (bool);

    /// @notice Whether a peer has claimed.
    function hasClaimed(uint256 game, string calldata peerId) external view returns (bool);

    /// @notice What a peer's claim pays or paid; 0 while the game is open.
    function payout(uint256 game, string calldata peerId) external view returns (uint256);

    /// @notice What a game holds: all bets less what was claimed.
    function tokensHeld(uint256 game) external view returns (uint256);

    /// @notice All bet tokens that were ever credited: always the sum of all balances (without what a peer is still due)
    /// and of what games hold.
    function totalIssued() external view returns (uint256);
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IPredictionMarket} from "./interfaces/IPredictionMarket.sol";
import {ISwarmCoordinator} from "./interfaces/ISwarmCoordinator.sol";

/// @title PredictionMarket
/// @notice See IPredictionMarket for what each function promises, and for the proof that a game never pays out more than
/// was bet in it.
contract PredictionMarket is IPredictionMarket, Ownable, ReentrancyGuard {
    uint256 public constant WELCOME = 100e18;
    uint256 public constant ALLOWANCE = 10e18;
    uint256 public constant ABANDONED_AFTER = 1 days;

    /// @dev A peer's rounds are the bits of one uint64.
    uint256 public constant MAX_ROUNDS = 64;

    /// @dev Every player reckons with every choice in every round: a game must not become a burden to those who play it.
    uint256 public constant MAX_CHOICES = 64;

    uint256 private constant ONE_TOKEN = 1e18;

    struct Game {
        bytes32 root;
        uint256 bets;
        /// @dev `bets` less what was claimed. Subtracting below zero reverts: a second lock beside the proof.
        uint256 held;
        uint64 ownerActedAt;
        uint8 rounds;
        uint8 choices;
        uint8 round;
        uint8 answer;
        GameStatus status;
        mapping(uint256 choice => Position) all;
        mapping(bytes32 peer => Player) players;
    }

    struct Player {
        uint256 bets;
        uint64 guessed;
        bool claimed;
        mapping(uint256 choice => Position) own;
    }

    struct Position {
        uint256 bets;
        uint256 tokens;
    }

    /// @dev Peers go by the hash of their id.
    struct Wallet {
        uint248 balance;
        bool welcomed;
    }

    address public immutable coordinator;
    uint256 public gameCount;
    uint256 public totalIssued;

    mapping(uint256 game => Game) private _games;
    mapping(bytes32 peer => Wallet) private _wallets;

    constructor(address coordinator_, address initialOwner) Ownable(initialOwner) {
        if (coordinator_.code.length == 0) revert InvalidCoordinator();
        coordinator = coordinator_;
    }

    // ------------------------------------------------------------------- owner

    function createNewGame(uint256 rounds, uint256 choices, bytes32 root) external onlyOwner returns (uint256 game) {
        if (rounds == 0 || rounds > MAX_ROUNDS || choices < 2 || choices > MAX_CHOICES) revert InvalidGame();
        game = gameCount++;
        Game storage made = _games[game];
        made.root = root;
        made.rounds = uint8(rounds);
        made.choices = uint8(choices);
        made.status = GameStatus.Open;
        made.ownerActedAt = uint64(block.timestamp);
        emit NewGameCreated(game, rounds, choices, block.timestamp);
    }

    function incrementRound(uint256 game) external onlyOwner {
        Game storage open = _openGame(game);
        if (open.round + 1 >= open.rounds) revert InvalidRound();
        open.round++;
        open.ownerActedAt = uint64(block.timestamp);
        emit RoundIncremented(game, block.timestamp);
    }

    function revealAnswer(uint256 game, uint256 answer, uint256 jobId) external onlyOwner {
        Game storage open = _openGame(game);
        if (answer >= open.choices) revert InvalidChoice();
        open.answer = uint8(answer);
        open.status = GameStatus.Revealed;
        emit AnswerRevealed(game, answer, jobId);
    }

    function cancelGame(uint256 game) external onlyOwner {
        _openGame(game).status = GameStatus.Abandoned;
        emit GameCancelled(game);
    }

    // ----------------------------------------------------------------- players

    function guessAnswer(uint256 game, string calldata peerId, uint256 round, uint256 choice, uint256 bet)
        external
        nonReentrant
    {
        Game storage played = _knownGame(game);
        _requirePeerOf(msg.sender, peerId);
        bytes32 peer = _key(peerId);
        Player storage player = played.players[peer];
        if (_hasGuessed(player, round)) revert AlreadyGuessed();
        if (_status(played) != GameStatus.Open) revert GameNotOpen();
        if (round != played.round) revert InvalidRound();
        if (choice >= played.choices) revert InvalidChoice();
        uint256 tokens = _tokensOut(round, bet);
        if (tokens == 0) revert InvalidBet();

        _credit(game, peer);
        if (bet > _wallets[peer].balance) revert InsufficientBalance();
        _wallets[peer].balance -= uint248(bet);
        played.bets += bet;
        played.held += bet;
        played.all[choice].bets += bet;
        played.all[choice].tokens += tokens;
        player.bets += bet;
        player.guessed |= uint64(1 << round);
        player.own[choice].bets += bet;
        player.own[choice].tokens += tokens;
        emit NewGuess(game, msg.sender, peerId, round, choice, bet);
    }

    function claimReward(uint256 game, string calldata peerId) external nonReentrant {
        Game storage played = _knownGame(game);
        _requirePeerOf(msg.sender, peerId);
        bytes32 peer = _key(peerId);
        Player storage player = played.players[peer];
        if (player.claimed) revert AlreadyClaimed();
        if (_status(played) == GameStatus.Open) revert GameStillOpen();
        uint256 amount = _payout(played, player);
        if (amount == 0) revert NothingToClaim();

        player.claimed = true;
        played.held -= amount;
        _wallets[peer].balance += uint248(amount);
        uint256 tokensIn = _isRefunded(played) ? 0 : player.own[played.answer].tokens;
        emit RewardClaimed(game, msg.sender, peerId, tokensIn, amount);
    }

    // ------------------------------------------------------------------- views

    function betTokenBalance(string calldata peerId) external view returns (uint256) {
        if (_accountOf(peerId) == address(0)) return 0;
        bytes32 peer = _key(peerId);
        // Where there is no game yet, nobody has bet in it.
        return _wallets[peer].balance + _due(gameCount == 0 ? 0 : gameCount - 1, peer);
    }

    function gameStatus(uint256 game) external view returns (uint8) {
        return uint8(_status(_games[game]));
    }

    function roundCount(uint256 game) external view returns (uint256) {
        return _knownGame(game).rounds;
    }

    function choiceCount(uint256 game) external view returns (uint256) {
        return _knownGame(game).choices;
    }

    function currentRoundIdx(uint256 game) external view returns (uint256) {
        return _knownGame(game).round;
    }

    function merkleRoot(uint256 game) external view returns (bytes32) {
        return _knownGame(game).root;
    }

    function correctChoice(uint256 game) external view returns (uint256) {
        Game storage known = _knownGame(game);
        GameStatus status = _status(known);
        if (status == GameStatus.Open) revert GameStillOpen();
        if (status == GameStatus.Abandoned) revert GameNotOpen();
        return known.answer;
    }

    function price(uint256 game, uint256 round, uint256 choice) external view returns (uint256) {
        _requireIn(_knownGame(game), round, choice);
        return _price(round);
    }

    function choiceTokensOut(uint256 game, uint256 round, uint256 choice, uint256 bet) external view returns (uint256) {
        _requireIn(_knownGame(game), round, choice);
        return _tokensOut(round, bet);
    }

    function choiceSupply(uint256 game, uint256 choice) external view returns (uint256) {
        return _knownGame(game).all[choice].tokens;
    }

    function choiceTokenBalance(uint256 game, uint256 choice, string calldata peerId) external view returns (uint256) {
        return _player(game, peerId).own[choice].tokens;
    }

    function choiceBets(uint256 game, uint256 choice, string calldata peerId) external view returns (uint256) {
        return _player(game, peerId).own[choice].bets;
    }

    function totalBets(uint256 game) external view returns (uint256) {
        return _knownGame(game).bets;
    }

    function tokensHeld(uint256 game) external view returns (uint256) {
        return _knownGame(game).held;
    }

    function hasGuessed(uint256 game, uint256 round, string calldata peerId) external view returns (bool) {
        return _hasGuessed(_player(game, peerId), round);
    }

    function hasClaimed(uint256 game, string calldata peerId) external view returns (bool) {
        return _player(game, peerId).claimed;
    }

    function payout(uint256 game, string calldata peerId) external view returns (uint256) {
        Game storage known = _knownGame(game);
        return _status(known) == GameStatus.Open ? 0 : _payout(known, known.players[_key(peerId)]);
    }

    // ----------------------------------------------------------------- private

    function _knownGame(uint256 game) private view returns (Game storage known) {
        known = _games[game];
        if (known.status == GameStatus.Unknown) revert GameNotFound();
    }

    function _openGame(uint256 game) private view returns (Game storage open) {
        open = _knownGame(game);
        if (_status(open) != GameStatus.Open) revert GameNotOpen();
    }

    function _player(uint256 game, string calldata peerId) private view returns (Player storage) {
        return _knownGame(game).players[_key(peerId)];
    }

    /// @dev Time alone abandons a game: nobody has to say so, and the bets of a host who is gone aren't lost.
    function _status(Game storage game) private view returns (GameStatus) {
        bool leftAlone = game.status == GameStatus.Open && block.timestamp >= game.ownerActedAt + ABANDONED_AFTER;
        return leftAlone ? GameStatus.Abandoned : game.status;
    }

    function _accountOf(string calldata peerId) private view returns (address) {
        string[] memory peerIds = new string[](1);
        peerIds[0] = peerId;
        return ISwarmCoordinator(coordinator).getEoa(peerIds)[0];
    }

    /// @dev An unregistered peer belongs to address(0), which nobody calls from, except in an eth_call.
    function _requirePeerOf(address account, string calldata peerId) private view {
        if (account == address(0) || _accountOf(peerId) != account) revert NotPeerOwner();
    }

    function _requireIn(Game storage game, uint256 round, uint256 choice) private view {
        if (round >= game.rounds) revert InvalidRound();
        if (choice >= game.choices) revert InvalidChoice();
    }

    function _key(string calldata peerId) private pure returns (bytes32) {
        return keccak256(bytes(peerId));
    }

    /// @dev Shifting by 64 or more gives a bit that no uint64 has: false for rounds that can't be.
    function _hasGuessed(Player storage player, uint256 round) private view returns (bool) {
        return player.guessed & (1 << round) != 0;
    }

    function _price(uint256 round) private pure returns (uint256) {
        return (round + 1) * ONE_TOKEN;
    }

    function _tokensOut(uint256 round, uint256 bet) private pure returns (uint256) {
        return Math.mulDiv(bet, ONE_TOKEN, _price(round));
    }

    /// @dev What the peer's next bet brings it, if that is one in `game`.
    function _due(uint256 game, bytes32 peer) private view returns (uint256) {
        Wallet storage wallet = _wallets[peer];
        if (!wallet.welcomed) return WELCOME;
        bool isNewest = game + 1 == gameCount;
        bool isInIt = _games[game].players[peer].bets != 0;
        return !isNewest || isInIt || wallet.balance >= ALLOWANCE ? 0 : ALLOWANCE - wallet.balance;
    }

    function _credit(uint256 game, bytes32 peer) private {
        uint256 due = _due(game, peer);
        if (due == 0) return;
        _wallets[peer].balance += uint248(due);
        _wallets[peer].welcomed = true;
        totalIssued += due;
    }

    function _isRefunded(Game storage game) private view returns (bool) {
        return game.status != GameStatus.Revealed || game.all[game.answer].tokens == 0;
    }

    /// @dev For a game that isn't open any more.
    function _payout(Game storage game, Player storage player) private view returns (uint256) {
        if (_isRefunded(game)) return player.bets;
        Position storage all = game.all[game.answer];
        Position storage own = player.own[game.answer];
        return own.bets + Math.mulDiv(own.tokens, game.bets - all.bets, all.tokens);
    }
}

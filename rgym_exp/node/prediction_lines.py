"""What the record of the prediction market says of bets, claims and outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rgym_exp.chain.market import GameResult
from rgym_exp.judge.judge import Clue
from rgym_exp.judge.prg_files import PlayedGame

_CHOICES_SHOWN = 8
_LETTERS_SHOWN = 40


def bet_line(clue: Clue, choice: int, *, stake: int, balance: int, scores: Sequence[float]) -> str:
    """E.g. ``game 3 clue 1: "red" for 25 of 100 tokens (log-probs red -1.20, blue -2.31)``; the likeliest first."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    shown = ", ".join(f"{_short(clue.choices[index])} {scores[index]:.2f}" for index in order[:_CHOICES_SHOWN])
    more = f", {len(order) - _CHOICES_SHOWN} more" if len(order) > _CHOICES_SHOWN else ""
    return (
        f"game {clue.game} clue {clue.clue}: {_quoted(clue.choices[choice])} for {tokens(stake)} of {tokens(balance)}"
        f" tokens (log-probs {shown}{more})"
    )


def refused_line(game: int, clue: int, reason: str) -> str:
    """E.g. ``game 3 clue 1: the clue was over before the bet arrived``."""
    return f"game {game} clue {clue}: {reason or 'the contract took no bet'}"


def outcome_line(game: PlayedGame, result: GameResult) -> str:
    """E.g. ``game 3: won 37.5 tokens on "red" (62.5 paid for 25)``."""
    return f"game {game.game}: {_outcome(game, result)}"


def _outcome(game: PlayedGame, result: GameResult) -> str:
    bets = [bet for bet in game.bets if bet.accepted is not False]
    staked, paid, answer = sum(bet.stake for bet in bets), result.payout, result.correct_choice
    if not bets:
        return "no bet was taken"
    if paid is None:
        # A contract without views: only the balance tells.
        return "claimed"
    if result.status == "abandoned":
        return f"refunded {tokens(paid)} tokens, as it ended without an answer"
    if answer is None:
        return f"claimed {tokens(paid)} tokens"
    right = _quoted(game.choices[answer]) if answer < len(game.choices) else f"choice {answer}"
    if not any(bet.choice == answer for bet in bets) and paid > 0:
        return f"refunded {tokens(paid)} tokens, as nobody bet on the answer {right}"
    if paid == 0:
        return f"lost {tokens(staked)} tokens: the answer was {right}"
    sums = f"({tokens(paid)} paid for {tokens(staked)})"
    if paid < staked:
        return f"lost {tokens(staked - paid)} tokens in all, although the answer was {right} {sums}"
    return f"won {tokens(paid - staked)} tokens on {right} {sums}"


def tokens(amount: int) -> str:
    """An amount of the smallest unit in whole tokens, to six decimals: 37500000000000000000 is ``37.5``."""
    return f"{Decimal(amount).scaleb(-18):.6f}".rstrip("0").rstrip(".")


def _quoted(choice: str) -> str:
    return f'"{_short(choice)}"'


def _short(choice: str) -> str:
    return choice if len(choice) <= _LETTERS_SHOWN else f"{choice[: _LETTERS_SHOWN - 3]}..."

"""What a player of the prediction market needs to know: asked in the background, while a round is played."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rgym_exp.chain.market import Bet, GameResult, Market, is_number
from rgym_exp.chain.writes import Status
from rgym_exp.judge.judge import Clue, Judge, JudgeAway
from rgym_exp.judge.prg_files import MAX_CHOICE_LENGTH, MAX_CHOICES, PlayedGame, PlayState

# The contract's games have no more clues; others' may, and a judge might say any number.
_CLUES_LOOKED_BACK = 64


@dataclass(frozen=True, kw_only=True)
class GameNow:
    """How a game stands that was bet in and isn't settled."""

    result: GameResult
    claim: Status | None
    """How far the claim got; None when none is in the outbox."""
    bets: Mapping[int, Bet]
    """By clue: the bets whose fate isn't known yet, as far as the outbox has them."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What judge and market said. Whoever wasn't asked, or failed, has said nothing."""

    asked_judge: bool
    asked_market: bool
    judge_error: Exception | None = None
    market_error: Exception | None = None
    clue: Clue | None = None
    """None when no game runs, or nothing was said."""
    balance: int | None = None
    """What may be staked, in the smallest unit."""
    forgotten_bets: tuple[Bet, ...] = ()
    """Bets on the clues of the current game that are in the outbox, but not in the state."""
    games: Mapping[int, GameNow] = field(default_factory=dict)
    """By number; unsettled games of which the market spoke."""

    @property
    def knows_the_current_game(self) -> bool:
        """Whether the judge said which game runs, or that none does."""
        return self.asked_judge and self.judge_error is None


def look_around(
    judge: Judge, market: Market, peer_id: str, state: PlayState, *, ask_judge: bool, ask_market: bool
) -> Look:
    """Ask judge and market. Never raises: errors are part of the answer."""
    clue, judge_error = None, None
    if ask_judge:
        try:
            clue = judge.current_clue()
            if clue is not None:
                _require_playable(clue)
        # Any: the configuration may name a judge of somebody's own, and the round must not end with it.
        except Exception as error:
            clue, judge_error = None, error
    balance, market_error = None, None
    forgotten: tuple[Bet, ...] = ()
    games: dict[int, GameNow] = {}
    if ask_market:
        try:
            # After the clue: what the contract says of its game is then at least as new.
            balance = market.balance(peer_id)
            forgotten = _forgotten_bets(market, peer_id, state, clue) if clue is not None else ()
            for number, game in state.games.items():
                games[number] = _game_now(market, peer_id, game)
        except Exception as error:  # As above. What was heard until now still counts.
            market_error = error
    return Look(
        asked_judge=ask_judge,
        asked_market=ask_market,
        judge_error=judge_error,
        market_error=market_error,
        clue=clue,
        balance=balance,
        forgotten_bets=forgotten,
        games=games,
    )


def _require_playable(clue: Clue) -> None:
    """Raises JudgeAway for what can't be bet on, or kept in the state file."""
    if not (is_number(clue.game) and is_number(clue.clue) and 1 <= len(clue.choices) <= MAX_CHOICES):
        raise JudgeAway("It told of a game that no market has.")
    if not all(choice.isprintable() and 1 <= len(choice) <= MAX_CHOICE_LENGTH for choice in clue.choices):
        raise JudgeAway(f"A choice of its game {clue.game} is empty, too long or not printable.")


def _forgotten_bets(market: Market, peer_id: str, state: PlayState, clue: Clue) -> tuple[Bet, ...]:
    if clue.game in state.settled:
        return ()
    known = state.games.get(clue.game)
    earliest = max(0, clue.clue - _CLUES_LOOKED_BACK + 1)
    clues = [number for number in range(earliest, clue.clue + 1) if known is None or known.bet_on(number) is None]
    found = [market.bet_on(game=clue.game, clue=number, peer_id=peer_id) for number in clues]
    return tuple(bet for bet in found if bet is not None and bet.choice < len(clue.choices))


def _game_now(market: Market, peer_id: str, game: PlayedGame) -> GameNow:
    open_bets = [bet.clue for bet in game.bets if bet.accepted is None]
    bets = {clue: market.bet_on(game=game.game, clue=clue, peer_id=peer_id) for clue in open_bets}
    # The claim before the result: of a game whose claim is confirmed the contract then tells how it ended.
    claim = market.claim_status(game=game.game, peer_id=peer_id)
    return GameNow(
        result=market.result(game=game.game, peer_id=peer_id),
        claim=claim,
        bets={clue: bet for clue, bet in bets.items() if bet is not None},
    )

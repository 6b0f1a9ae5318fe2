"""The player of the prediction market: a bet per clue on what the model finds likeliest, and a claim when a game ends.

A round begins by having judge and market asked in the background, and after its optimizer step plays with what has
arrived. The outbox decides what has been bet and claimed; the state file says what is still to be claimed, and the
record tells people. So a crash between any two of them bets nothing twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rgym_exp.base.back_off import BackOff
from rgym_exp.base.background import Background
from rgym_exp.chain.market import ONE_TOKEN, Bet, GameStatus, Market
from rgym_exp.judge.judge import Clue, Judge
from rgym_exp.judge.play import answer_texts, best_choice, clue_chat, stake_on
from rgym_exp.judge.prg_files import PlacedBet, PlayedGame, PlayState, RecordFile, StateFile
from rgym_exp.node.prediction_lines import bet_line, outcome_line, refused_line
from rgym_exp.node.prediction_look import GameNow, Look, look_around
from rgym_exp.training.policy import Policy

logger = logging.getLogger("rl_swarm.node")

# A claim that the contract refused is tried again after so many rounds, or when anything about its game has changed.
_ROUNDS_BETWEEN_CLAIMS = 20
# After so many refused claims a game that the contract has never heard of is forgotten.
_CLAIMS_OF_AN_UNKNOWN_GAME = 3


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """A claim as it was made last."""

    round: int
    """Counted by this player."""
    count: int
    current_game: int | None
    status: GameStatus
    """The game's, as it was known then."""


class MarketPlayer:
    """Plays for one peer. All methods return at once, save for ``play`` while the model scores, and none raises.

    Args:
        judge: tells the clues; stays the caller's to close.
        market: takes bets and claims; likewise.
        state_file: what must survive a restart.
        record_file: a line for every bet, claim and outcome.
        clock: seconds, for the pauses after failures.
    """

    def __init__(
        self,
        *,
        judge: Judge,
        market: Market,
        peer_id: str,
        state_file: Path,
        record_file: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._judge = judge
        self._market = market
        self._peer_id = peer_id
        self._file = StateFile(state_file, market=market.address, peer_id=peer_id)
        self._record = RecordFile(record_file)
        self._state = self._file.load()
        self._background = Background("rl-swarm-market")
        self._looking: Future[Look] | None = None
        self._balance: int | None = None
        self._rounds = 0
        self._attempts: dict[int, _Attempt] = {}
        back_off = partial(BackOff, logger, clock=clock)
        self._with_judge = back_off(failing="No clues for the prediction market", works="There are clues again.")
        self._with_market = back_off(
            failing="The prediction market can't be asked now", works="The prediction market answers again."
        )
        self._with_outbox = back_off(
            failing="Bets and claims can't be made now", works="Bets and claims can be made again."
        )
        self._with_model = back_off(
            failing="The model can't score the answers of the prediction market",
            works="The model scores answers again.",
        )

    @property
    def bet_tokens(self) -> float | None:
        """The tokens that may be bet, when last heard of; None before."""
        return None if self._balance is None else self._balance / ONE_TOKEN

    def begin(self) -> None:
        """At a round's start: have judge and market asked, unless an earlier answer is still to come or to be used."""
        ask_judge, ask_market = self._with_judge.may_ask, self._with_market.may_ask
        if self._looking is None and (ask_judge or ask_market):
            call = partial(look_around, self._judge, self._market, self._peer_id, self._state)
            self._looking = self._background.submit(partial(call, ask_judge=ask_judge, ask_market=ask_market))

    def play(self, policy: Policy) -> None:
        """After a round's step: settle, claim and bet with what has been heard; nothing, if that is nothing yet."""
        self._rounds += 1
        if self._looking is None or not self._looking.done():
            return
        looking, self._looking = self._looking, None
        try:
            look = looking.result()
            self._hear(look)
            if self._with_outbox.may_ask:
                self._act(look, policy)
        # Any: the outbox may be on a full disk, and the configuration may name a market of somebody's own. A game is
        # no reason to end a training.
        except Exception as error:
            self._with_outbox.failed(error)

    def close(self) -> None:
        """Stop asking; what is being asked is not waited for."""
        self._background.close()

    def _hear(self, look: Look) -> None:
        if look.balance is not None:
            self._balance = look.balance
        for asked, error, back_off in (
            (look.asked_judge, look.judge_error, self._with_judge),
            (look.asked_market, look.market_error, self._with_market),
        ):
            if error is not None:
                back_off.failed(error, wished_seconds=getattr(error, "retry_after_seconds", None))
            elif asked:
                back_off.worked()

    def _act(self, look: Look, policy: Policy) -> None:
        if look.clue is not None:
            # What the outbox has and the state lost.
            for bet in look.forgotten_bets:
                self._keep(self._game_of(look.clue).with_bet(_placed(bet)))
        for number, now in look.games.items():
            if number in self._state.games:
                self._follow(self._state.games[number], now, look)
        self._bet(look, policy)

    def _follow(self, game: PlayedGame, now: GameNow, look: Look) -> None:
        """One unsettled game: which bets were taken, whether to claim, how it ended."""
        game = self._note_fates(game, now)
        if not self._seems_over(game, now, look):
            return
        still_open = any(bet.clue in now.bets for bet in game.bets if bet.accepted is None)
        nothing_to_claim = all(bet.accepted is False for bet in game.bets) and now.result.status != "open"
        if (now.claim == "confirmed" and not still_open) or nothing_to_claim:
            self._settle(game, outcome_line(game, now.result))
        elif now.claim in (None, "refused"):
            self._claim(game, now, look)

    def _note_fates(self, game: PlayedGame, now: GameNow) -> PlayedGame:
        for clue, bet in now.bets.items():
            known = game.bet_on(clue)
            if known is not None and bet.status in ("confirmed", "refused"):
                game = game.with_bet(replace(known, accepted=bet.status == "confirmed"))
                if bet.status == "refused":
                    self._record.write("refused", refused_line(game.game, clue, bet.detail))
        self._keep(game)
        return game

    def _seems_over(self, game: PlayedGame, now: GameNow, look: Look) -> bool:
        """Whether a claim may succeed: by the contract's word, or because the judge is at another game.

        Not by the contract's alone, since older ones count their states in other ways.
        """
        is_another = look.clue is None or look.clue.game != game.game
        return now.result.status in ("revealed", "abandoned") or (look.knows_the_current_game and is_another)

    def _claim(self, game: PlayedGame, now: GameNow, look: Look) -> None:
        current = look.clue.game if look.clue else None
        last = self._attempts.get(game.game)
        if last is not None:
            unchanged = (last.current_game, last.status) == (current, now.result.status)
            if unchanged and self._rounds - last.round < _ROUNDS_BETWEEN_CLAIMS:
                return
            if now.result.status == "unknown" and last.count >= _CLAIMS_OF_AN_UNKNOWN_GAME:
                self._settle(game, f"game {game.game}: given up, as the contract knows no such game")
                return
        self._market.claim(game=game.game, peer_id=self._peer_id)
        self._with_outbox.worked()
        self._attempts[game.game] = _Attempt(
            round=self._rounds,
            count=1 + (last.count if last else 0),
            current_game=current,
            status=now.result.status,
        )
        if not game.claimed:
            self._keep(replace(game, claimed=True))
            # One that the outbox had already was in the record before the state was lost.
            if now.claim is None:
                self._record.write("claim", f"game {game.game}")

    def _bet(self, look: Look, policy: Policy) -> None:
        clue, balance = look.clue, look.balance
        if clue is None or balance is None or clue.game in self._state.settled:
            return
        game, stake = self._game_of(clue), stake_on(clue, balance)
        if stake == 0 or game.bet_on(clue.clue) is not None or not self._with_model.may_ask:
            return
        scores = self._scores(clue, policy)
        if scores is None:
            return
        choice = best_choice(scores)
        bet = PlacedBet(clue=clue.clue, choice=choice, stake=stake)
        if self._market.place_bet(game=clue.game, clue=clue.clue, choice=choice, stake=stake, peer_id=self._peer_id):
            self._with_outbox.worked()
            self._keep(game.with_bet(bet))
            self._balance = balance - stake
            line = bet_line(clue, choice, stake=stake, balance=balance, scores=scores)
            self._record.write("bet", line)
            logger.info("Bet in %s.", line)

    def _scores(self, clue: Clue, policy: Policy) -> list[float] | None:
        """The model's; None when it can't score these texts now."""
        try:
            scores = policy.score_answers(clue_chat(clue), answer_texts(clue))
            best_choice(scores)
            if len(scores) != len(clue.choices):
                raise ValueError(f"{len(scores)} scores for {len(clue.choices)} choices")
        except Exception as error:  # Out of memory, too long a text, a policy of somebody's own: no bet, that is all.
            self._with_model.failed(error)
            return None
        self._with_model.worked()
        return scores

    def _game_of(self, clue: Clue) -> PlayedGame:
        return self._state.games.get(clue.game) or PlayedGame(game=clue.game, choices=clue.choices)

    def _keep(self, game: PlayedGame) -> None:
        self._save(self._state.with_game(game))

    def _settle(self, game: PlayedGame, line: str) -> None:
        self._record.write("outcome", line)
        logger.info("Outcome of %s.", line)
        self._attempts.pop(game.game, None)
        self._save(self._state.without_game(game.game))

    def _save(self, state: PlayState) -> None:
        if state == self._state:
            return
        for number in self._state.games.keys() - state.games.keys() - set(state.settled):
            self._record.write("outcome", f"game {number}: forgotten, as too many games are unsettled")
        self._state = state
        self._file.save(state)


def _placed(bet: Bet) -> PlacedBet:
    fates = {"confirmed": True, "refused": False}
    return PlacedBet(clue=bet.clue, choice=bet.choice, stake=bet.stake, accepted=fates.get(bet.status))

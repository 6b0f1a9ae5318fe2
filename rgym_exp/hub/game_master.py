"""The game master: runs the prediction market's games, one after the other, at the swarm's pace.

A clue is told only when the contract's round for it has begun, so that nobody bets on a clue in another one's round.
Whatever was interrupted, the contract says where to go on: before each step it is asked how the game stands.

    written down ──► created (round 0, clue 0) ──► round 1, clue 1 ──► ... ──► revealed ──► the next one

Each clue lasts some rounds of the swarm, and so does the time between the last clue and the answer. A swarm that
stands still has no use for clues: its game stands still as well, and none is begun. A game that nobody here knows any
more is called off, so that bets in it are refunded at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from rgym_exp.base.outage import Outage
from rgym_exp.chain.coordinator import ChainUnavailable
from rgym_exp.chain.market import GameStatus
from rgym_exp.errors import SwarmUserError
from rgym_exp.hub.game_file import KeptGame, KeptGames, Outcome, load_games, save_games
from rgym_exp.hub.game_pace import GamePace, GameTime
from rgym_exp.judge.commitment import told_opening
from rgym_exp.judge.games import make_game
from rgym_exp.judge.judge import Clue

log = logging.getLogger("rl_swarm.hub.games")

LONGEST_PAUSE_SECONDS = 30.0
"""Upper bound of the back-off while the chain can't be reached."""
STRAYS_LOOKED_FOR = 32
"""How many of the newest games are looked through for open ones that aren't ours to go on with."""
LOOK_AGAIN_SECONDS = 600.0
"""How often the contract is asked how the game stands although nothing is to be done."""
GIVEN_UP_AFTER_SECONDS = 23 * 3600.0
"""A game that the hub did nothing to for so long is called off: the contract counts it as abandoned after a day."""


class GameMarket(Protocol):
    """The market's contract in its owner's hands (``chain.deploy.MarketOwner``). Blocking; called in worker threads.

    Raises SwarmUserErrors. After one of them a change may have happened all the same.
    """

    @property
    def address(self) -> str: ...

    def create_game(self, round_count: int, choice_count: int, merkle_root: bytes) -> int: ...

    def increment_round(self, game: int) -> None: ...

    def reveal(self, game: int, correct_choice: int) -> None: ...

    def cancel(self, game: int) -> None: ...

    def status(self, game: int) -> GameStatus: ...

    def current_round(self, game: int) -> int: ...

    def game_count(self) -> int: ...


class GameMaster:
    """One game at a time. What it knows is read by the judge's routes and by ``/status``."""

    def __init__(
        self,
        *,
        market: GameMarket,
        root_of: Callable[[int], bytes],
        state_file: Path,
        swarm_round: Callable[[], int],
        pace: GamePace | None = None,
        poll_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Reads nothing and asks nobody yet.

        Args:
            root_of: the Merkle root that the contract was told for a game; blocking, as the market is.
            swarm_round: the swarm's round as the hub knows it; negative while unknown.
        """
        self.outage = Outage(
            log,
            failing="The prediction market's games can't go on just now; trying again: %s",
            works="The prediction market's games go on.",
        )
        """Whether and why games can't go on right now."""
        self._market = market
        self._root_of = root_of
        self._state_file = state_file
        self._swarm_round = swarm_round
        self._pace = pace or GamePace()
        self._time = GameTime(self._pace, clock=clock)
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._wall_clock = wall_clock
        self._kept = KeptGames(market=market.address)
        self._read = self._strays_gone = False
        self._asked = float("-inf")
        """When the contract was last asked how things stand; -inf: it must be before anything else is done."""

    async def run(self) -> None:
        """Run games until cancelled. Whatever goes wrong is waited out, with growing pauses."""
        pause = self._poll_seconds
        while True:
            try:
                await self.look()
            except (SwarmUserError, OSError, TimeoutError) as error:
                pause = self._troubled(pause, f"{error}")
            except Exception as error:
                # A mistake in here stops the games for a moment, and never the hub.
                log.exception("The game master failed")
                pause = self._troubled(pause, f"{type(error).__name__}: {error}")
            else:
                pause = self._poll_seconds
                self.outage.works()
            await asyncio.sleep(pause)

    async def look(self) -> None:
        """One turn: ask where the contract doesn't have to be believed, then do what is due.

        Raises a SwarmUserError when the chain is away or refuses, OSError when the state can't be written.
        """
        round = self._swarm_round()
        if round < 0:
            return
        if self._clock() - self._asked > LOOK_AGAIN_SECONDS:
            await asyncio.to_thread(self._sync, round)
        if self._time.clue is not None:
            if self._time.is_clue_over(round):
                await asyncio.to_thread(self._go_on, round)
        elif self._time.may_begin(round):
            await asyncio.to_thread(self._begin, round)

    def current_clue(self) -> Clue | None:
        """See ``judge_routes.Games``."""
        running, clue = self._kept.running, self._time.clue
        if running is None or running.game is None or clue is None:
            return None
        return Clue(
            game=running.game,
            clue=clue,
            rounds_remaining=len(running.opening.clues) - clue,
            text=running.opening.clues[clue],
            choices=running.opening.choices,
        )

    def told(self, game: int) -> Mapping[str, Any] | None:
        """See ``judge_routes.Games``: of a game that is over everything, with the proofs against its root."""
        kept = self._kept.find(game)
        if kept is None:
            return None
        facts = {"game_id": game, "status": kept.outcome, "merkle_root": "0x" + kept.root.hex()}
        if kept.outcome == "running":
            clue = self._time.clue
            told = 0 if clue is None else clue + 1
            return {**facts, "choices": list(kept.opening.choices), "clues": list(kept.opening.clues[:told])}
        return {**facts, **told_opening(kept.opening)}

    # --------------------------------------------------------- in worker threads

    def _sync(self, round: int) -> None:
        """Bring what is known here in line with the contract."""
        if not self._read:
            self._kept = load_games(self._state_file, self._market.address)
            self._read = True
        count = self._market.game_count()
        running = self._kept.running
        if running is not None and running.game is None:
            running = self._found(running, count)
        if running is not None and running.game is not None:
            self._follow(running, running.game, count, round)
        if not self._strays_gone:
            self._cancel_strays(count)
            self._strays_gone = True
        self._asked = self._clock()

    def _found(self, running: KeptGame, count: int) -> KeptGame:
        """The game that was written down and perhaps created, with its number when the contract has it."""
        oldest = max(running.games_before, count - STRAYS_LOOKED_FOR)
        number = next((game for game in range(oldest, count) if self._root_of(game) == running.root), None)
        if number is None:
            return running
        found = dataclasses.replace(running, game=number)
        self._save(self._kept.with_running(found))
        return found

    def _follow(self, running: KeptGame, game: int, count: int, round: int) -> None:
        """Tell the clue of the contract's round, or end what has ended."""
        if game >= count or self._root_of(game) != running.root:
            log.warning("The chain has forgotten game %d; the next one begins.", game)
            return self._end("abandoned", round)
        status = self._market.status(game)
        if status == "open" and self._wall_clock() - running.acted > GIVEN_UP_AFTER_SECONDS:
            self._cancel(game)
            status = "abandoned"
        if status != "open":
            return self._end("revealed" if status == "revealed" else "abandoned", round)
        self._time.tell(self._market.current_round(game), round)

    def _begin(self, round: int) -> None:
        """Create a game, or the one that was written down and didn't come to be."""
        self._asked = float("-inf")  # Until all of it has worked, the contract must be asked first.
        running = self._kept.running
        if running is None:
            game = make_game(secrets.token_bytes(32), clues=self._pace.clues)
            running = KeptGame(
                opening=game.opening,
                game=None,
                games_before=self._market.game_count(),
                acted=self._wall_clock(),
                outcome="running",
            )
        else:
            running = dataclasses.replace(running, acted=self._wall_clock())
        self._save(self._kept.with_running(running))
        opening = running.opening
        number = self._market.create_game(len(opening.clues), len(opening.choices), running.root)
        self._save(self._kept.with_running(dataclasses.replace(running, game=number)))
        log.info("Game %d of the prediction market begins: %d clues.", number, len(opening.clues))
        self._time.tell(0, round)
        self._asked = self._clock()

    def _go_on(self, round: int) -> None:
        """The next clue, or the answer; nothing but looking where the contract is already there."""
        expected = self._time.clue
        self._asked = float("-inf")
        self._sync(round)
        running = self._kept.running
        if running is None or running.game is None or self._time.clue is None or self._time.clue != expected:
            return
        self._asked = float("-inf")
        if self._time.clue + 1 < len(running.opening.clues):
            self._market.increment_round(running.game)
            self._save(self._kept.with_running(dataclasses.replace(running, acted=self._wall_clock())))
            self._time.tell(self._time.clue + 1, round)
        else:
            self._market.reveal(running.game, running.opening.answer)
            answer = running.opening.choices[running.opening.answer]
            log.info("Game %d of the prediction market ends: it was %s.", running.game, answer)
            self._end("revealed", round)
        self._asked = self._clock()

    def _end(self, outcome: Outcome, round: int) -> None:
        """The running game is over."""
        self._time.end(round)
        self._save(self._kept.with_ended(outcome))

    def _cancel_strays(self, count: int) -> None:
        """Call off open games that aren't the one written down: nobody knows their clues any more."""
        ours = self._kept.running.game if self._kept.running else None
        for game in range(max(0, count - STRAYS_LOOKED_FOR), count):
            if game != ours and self._market.status(game) == "open":
                log.warning("Game %d is open, and this hub doesn't know its clues any more: it is called off.", game)
                self._cancel(game)

    def _cancel(self, game: int) -> None:
        """Call a game off. A refusal says that the contract counts it as over by now, which is as good."""
        try:
            self._market.cancel(game)
        except ChainUnavailable:
            raise
        except SwarmUserError as refusal:
            log.info("Game %d needed no calling off: %s", game, refusal)

    def _save(self, kept: KeptGames) -> None:
        """Write it down, then know it."""
        save_games(self._state_file, kept)
        self._kept = kept

    def _troubled(self, pause: float, trouble: str) -> float:
        """The pause until the next try."""
        self.outage.fails(trouble)
        self._asked = float("-inf")
        return min(2 * pause, LONGEST_PAUSE_SECONDS)

"""``game.json``: the prediction market's games as the hub must remember them, answers included (so mode 0600).

A game is written down before it is created on the contract: a hub that is stopped in between finds it there again by
its Merkle root, and knows clues and answer. Of games that are over the last ones are kept, for whoever wants to check
them.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rgym_exp.base.files import atomic_write, set_aside
from rgym_exp.judge.commitment import Opening, opening_of, read_opening, told_opening

log = logging.getLogger("rl_swarm.hub.games")

ENDED_KEPT = 50

Outcome = Literal["running", "revealed", "abandoned"]
_OUTCOMES: tuple[Outcome, ...] = ("running", "revealed", "abandoned")


@dataclass(frozen=True, kw_only=True)
class KeptGame:
    """One game."""

    opening: Opening
    game: int | None
    """The contract's number; None until it is known that the game is there."""
    games_before: int
    """How many games the contract had before: this one's number is that or higher."""
    acted: float
    """When the hub last did something to it on chain, seconds since the epoch."""
    outcome: Outcome

    @property
    def root(self) -> bytes:
        """[32] What the contract is told."""
        opening = self.opening
        return opening_of(salt=opening.salt, clues=opening.clues, choices=opening.choices, answer=opening.answer)[0]


@dataclass(frozen=True, kw_only=True)
class KeptGames:
    """All that is kept: of one market."""

    market: str
    running: KeptGame | None = None
    ended: tuple[KeptGame, ...] = ()
    """Newest last."""

    def with_running(self, game: KeptGame) -> KeptGames:
        """The same with this game as the one that runs."""
        return dataclasses.replace(self, running=game)

    def with_ended(self, outcome: Outcome) -> KeptGames:
        """The same with the running game over."""
        if self.running is None:
            return self
        over = dataclasses.replace(self.running, outcome=outcome)
        return dataclasses.replace(self, running=None, ended=(*self.ended, over)[-ENDED_KEPT:])

    def find(self, game: int) -> KeptGame | None:
        """The game with this number on the contract."""
        kept = (*self.ended, *([self.running] if self.running else []))
        return next((one for one in reversed(kept) if one.game == game), None)


def load_games(path: Path, market: str) -> KeptGames:
    """What was kept of this market; nothing when there is no file, it is of another market, or it is damaged.

    A damaged file is moved aside with a warning: its game can't go on, but swarm and hub can. Raises OSError.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return KeptGames(market=market)
    try:
        kept = _games(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        set_aside(path, error, "Its game is called off.", log=log)
        return KeptGames(market=market)
    return kept if kept.market.lower() == market.lower() else KeptGames(market=market)


def save_games(path: Path, kept: KeptGames) -> None:
    """Write it in one piece. Raises OSError."""
    content = {
        "market": kept.market,
        "running": _told(kept.running) if kept.running else None,
        "ended": [_told(game) for game in kept.ended],
    }
    atomic_write(path, (json.dumps(content) + "\n").encode(), mode=0o600)


def _told(game: KeptGame) -> dict[str, Any]:
    facts = {name: getattr(game, name) for name in ("game", "games_before", "acted", "outcome")}
    return {**facts, "opening": told_opening(game.opening)}


def _games(content: Mapping[str, Any]) -> KeptGames:
    return KeptGames(
        market=str(content["market"]),
        running=_game(content["running"]) if content["running"] is not None else None,
        ended=tuple(_game(game) for game in content["ended"]),
    )


def _game(content: Mapping[str, Any]) -> KeptGame:
    number = content["game"]
    return KeptGame(
        opening=read_opening(content["opening"]),
        game=None if number is None else int(number),
        games_before=int(content["games_before"]),
        acted=float(content["acted"]),
        outcome=_OUTCOMES[_OUTCOMES.index(content["outcome"])],
    )

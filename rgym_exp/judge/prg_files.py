"""The two files of a prediction market's player: a record for people, and what must survive a restart."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rgym_exp.base.files import atomic_write, set_aside
from rgym_exp.base.outage import Outage
from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.base.text import printable

logger = logging.getLogger("rl_swarm.judge")

MAX_GAMES = 12
"""Unsettled games that are remembered; beyond, the oldest is forgotten."""
MAX_SETTLED = 64
_MAX_BETS = 64
MAX_CHOICES = 64
MAX_CHOICE_LENGTH = 200
_MAX_BYTES = 1024 * 1024
_MAX_BRACKETS = 10_000
"""Some choices are spelt with brackets, which count here."""
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class PlacedBet:
    """A bet that went to the outbox."""

    clue: int
    choice: int
    """Index into the game's choices."""
    stake: int
    """In the smallest unit."""
    accepted: bool | None = None
    """Whether the contract took it; None as long as that isn't known."""


@dataclass(frozen=True, kw_only=True)
class PlayedGame:
    """A game that was bet in."""

    game: int
    choices: tuple[str, ...]
    bets: tuple[PlacedBet, ...] = ()
    claimed: bool = False
    """Whether the claim was noted in the record."""

    def with_bet(self, bet: PlacedBet) -> PlayedGame:
        """With this bet, in the place of an earlier one on the same clue."""
        others = [other for other in self.bets if other.clue != bet.clue]
        return replace(self, bets=tuple(sorted([*others, bet], key=lambda one: one.clue))[-_MAX_BETS:])

    def bet_on(self, clue: int) -> PlacedBet | None:
        """The bet on a clue, if there is one."""
        return next((bet for bet in self.bets if bet.clue == clue), None)


@dataclass(frozen=True, kw_only=True)
class PlayState:
    """What a player must remember. It belongs to one peer on one market."""

    games: Mapping[int, PlayedGame] = field(default_factory=dict)
    """Games not yet settled, in the order in which they were first bet in."""
    settled: tuple[int, ...] = ()
    """The last games that were settled; nothing is bet in them any more."""

    def with_game(self, game: PlayedGame) -> PlayState:
        """With this game, new or changed; the oldest one makes room for it."""
        games = {**self.games, game.game: game}
        return replace(self, games=dict(list(games.items())[-MAX_GAMES:]))

    def without_game(self, number: int) -> PlayState:
        """With this game settled."""
        games = {key: game for key, game in self.games.items() if key != number}
        return replace(self, games=games, settled=(*self.settled, number)[-MAX_SETTLED:])


class StateFile:
    """``logs/prg_state.json``.

    Args:
        market: address of the market's contract. Game numbers mean nothing on another market, or for another peer.
    """

    def __init__(self, path: Path, *, market: str, peer_id: str) -> None:
        self._path = path
        self._owner = {"market": market, "peer_id": peer_id}
        failing = f"{path} can't be written (%s): a restart now would forget the last bets."
        self._writing = Outage(logger, failing=failing)

    def load(self) -> PlayState:
        """The state; an empty one without a file, and with a warning where the file can't be used.

        Such a file is set aside, for whoever wants to look at it.
        """
        try:
            if self._path.stat().st_size > _MAX_BYTES:
                raise ValueError("it is too large")
            content = shallow_json(self._path.read_bytes(), max_brackets=_MAX_BRACKETS)
            owner = {key: content.get(key) for key in self._owner} if isinstance(content, dict) else {}
            if owner and owner != self._owner:
                raise ValueError("it belongs to another peer or another market")
            return _state_of(content)
        except FileNotFoundError:
            return PlayState()
        except (OSError, ValueError) as error:
            then = "Bets of before are not remembered here, so their games may stay unclaimed."
            set_aside(self._path, error, then, log=logger)
            return PlayState()

    def save(self, state: PlayState) -> None:
        """Keep the state; a disk that can't take it costs a warning."""
        content = {"version": _VERSION, **self._owner, **_plain(state)}
        try:
            atomic_write(self._path, json.dumps(content, ensure_ascii=False, indent=1).encode())
        except OSError as error:
            self._writing.fails(error)
        else:
            self._writing.works()


class RecordFile:
    """``logs/prg_record.txt``: a line for every bet, claim and outcome, for people and for grep."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = Outage(logger, failing=f"{path} can't be written (%s): some lines will be missing there.")

    def write(self, event: str, text: str) -> None:
        """Append a line; a disk that can't take it costs a warning.

        Args:
            event: one word: bet, claim, won ...
            text: the rest; what isn't printable is replaced, so that a choice can't forge lines.
        """
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Opened for each of its few lines, so that a file which was moved away is simply made again.
            with self._path.open("a", encoding="utf-8", errors="replace") as file:
                file.write(f"{when} {event:<8} {printable(text)}\n")
        except OSError as error:
            self._writing.fails(error)
        else:
            self._writing.works()


def _plain(state: PlayState) -> dict[str, Any]:
    return {
        "games": [
            {
                "game": game.game,
                "claimed": game.claimed,
                "choices": list(game.choices),
                "bets": [
                    # Stakes are beyond what most readers of JSON take for a whole number.
                    {"clue": bet.clue, "choice": bet.choice, "stake": str(bet.stake), "accepted": bet.accepted}
                    for bet in game.bets
                ],
            }
            for game in state.games.values()
        ],
        "settled": list(state.settled),
    }


def _state_of(content: Any) -> PlayState:
    """Raises ValueError for anything that ``_plain`` doesn't write."""
    _require(isinstance(content, dict) and content.get("version") == _VERSION, "it is not one of this program's")
    games = [_game_of(item) for item in _list(content.get("games"), MAX_GAMES)]
    _require(len({game.game for game in games}) == len(games), "a game is in it twice")
    settled = tuple(_number(item) for item in _list(content.get("settled"), MAX_SETTLED))
    return PlayState(games={game.game: game for game in games}, settled=settled)


def _game_of(item: Any) -> PlayedGame:
    _require(isinstance(item, dict) and isinstance(item.get("claimed"), bool), "a game is incomplete")
    choices = tuple(_list(item.get("choices"), MAX_CHOICES))
    _require(all(isinstance(text, str) and len(text) <= MAX_CHOICE_LENGTH for text in choices), "a choice is no text")
    bets = tuple(_bet_of(bet) for bet in _list(item.get("bets"), _MAX_BETS))
    _require(all(bet.choice < len(choices) for bet in bets), "a bet is on no choice of its game")
    return PlayedGame(game=_number(item.get("game")), choices=choices, bets=bets, claimed=item["claimed"])


def _bet_of(item: Any) -> PlacedBet:
    _require(isinstance(item, dict), "a bet is incomplete")
    stake, accepted = item.get("stake"), item.get("accepted")
    _require(isinstance(stake, str) and stake.isascii() and stake.isdigit() and len(stake) < 80, "a stake is no number")
    _require(accepted is None or isinstance(accepted, bool), "a bet is incomplete")
    return PlacedBet(
        clue=_number(item.get("clue")), choice=_number(item.get("choice")), stake=int(stake), accepted=accepted
    )


def _list(value: Any, longest: int) -> list[Any]:
    _require(isinstance(value, list) and len(value) <= longest, "a list is missing or too long")
    return list(value)


def _number(value: Any) -> int:
    _require(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63, "a number is missing")
    return int(value)


def _require(true: bool, otherwise: str) -> None:
    if not true:
        raise ValueError(otherwise)

"""What a player keeps: a state that survives restarts and any damage to its file, and a record for people."""

from __future__ import annotations

import json
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgym_exp.judge.prg_files import (
    MAX_CHOICE_LENGTH,
    MAX_CHOICES,
    MAX_GAMES,
    MAX_SETTLED,
    PlacedBet,
    PlayedGame,
    PlayState,
    RecordFile,
    StateFile,
)

BET = PlacedBet(clue=1, choice=1, stake=25 * 10**18)
GAME = PlayedGame(game=3, choices=("red", "blue"), bets=(BET, PlacedBet(clue=2, choice=0, stake=7, accepted=True)))
STATE = PlayState(games={3: GAME, 5: PlayedGame(game=5, choices=("a", "b"), claimed=True)}, settled=(1, 2))


def file_in(folder: Path, *, market: str = "0xA", peer_id: str = "QmP") -> StateFile:
    return StateFile(folder / "prg_state.json", market=market, peer_id=peer_id)


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    file_in(tmp_path).save(STATE)
    assert file_in(tmp_path).load() == STATE


numbers = st.integers(0, 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
bets = st.builds(
    PlacedBet,
    clue=numbers,
    choice=st.integers(0, 1),
    stake=st.integers(0, 2**256),
    accepted=st.sampled_from([None, True, False]),
)
games = st.builds(
    PlayedGame,
    game=numbers,
    choices=st.lists(texts, min_size=2, max_size=5).map(tuple),
    bets=st.lists(bets, max_size=5).map(tuple),
    claimed=st.booleans(),
)
states = st.builds(
    PlayState,
    games=st.lists(games, max_size=MAX_GAMES).map(lambda many: {game.game: game for game in many}),
    settled=st.lists(numbers, max_size=MAX_SETTLED).map(tuple),
)


@settings(max_examples=40, deadline=None)
@given(states)
def test_any_state_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, state: PlayState) -> None:
    folder = tmp_path_factory.mktemp("state")
    file_in(folder).save(state)
    assert file_in(folder).load() == state


def test_the_largest_state_there_can_be_is_read_again(tmp_path: Path) -> None:
    # Four bytes a letter; brackets, which the parser of JSON counts, in some.
    choices = tuple((f"{number:02}" + "𝔸" * MAX_CHOICE_LENGTH)[:MAX_CHOICE_LENGTH] for number in range(MAX_CHOICES))
    state = PlayState(settled=tuple(range(MAX_SETTLED)))
    for number in range(MAX_GAMES):
        game = PlayedGame(game=2**62 + number, choices=("[" * MAX_CHOICE_LENGTH, *choices[1:]))
        for clue in range(100):
            game = game.with_bet(PlacedBet(clue=2**62 + clue, choice=5, stake=2**255, accepted=True))
        state = state.with_game(game)
    file_in(tmp_path).save(state)
    assert file_in(tmp_path).load() == state


def test_without_a_file_there_is_nothing_to_remember_and_nothing_to_warn_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert file_in(tmp_path).load() == PlayState()
    assert not caplog.records


def changed(**changes: Any) -> bytes:
    content = {
        "version": 1,
        "market": "0xA",
        "peer_id": "QmP",
        "settled": [1],
        "games": [
            {
                "game": 3,
                "claimed": False,
                "choices": ["red", "blue"],
                "bets": [{"clue": 1, "choice": 1, "stake": "25", "accepted": None}],
            }
        ],
    }
    return json.dumps({**content, **changes}).encode()


def with_game(**changes: Any) -> bytes:
    (game,) = json.loads(changed())["games"]
    return changed(games=[{**game, **changes}])


def with_bet(**changes: Any) -> bytes:
    return with_game(bets=[{"clue": 1, "choice": 1, "stake": "25", "accepted": None, **changes}])


def test_the_file_that_the_next_tests_damage_is_whole(tmp_path: Path) -> None:
    (tmp_path / "prg_state.json").write_bytes(changed())
    assert file_in(tmp_path).load() == PlayState(
        games={3: replace(GAME, bets=(PlacedBet(clue=1, choice=1, stake=25),))}, settled=(1,)
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\x00\xff\xfe",
        b"null",
        b"[]",
        b"7",
        b"NaN",
        b"[" * 100_000,
        b" " * (1024 * 1024 + 1),
        changed()[:-20],
        changed(version=2),
        changed(version=None),
        changed(market="0xB"),
        changed(peer_id="QmQ"),
        changed(settled=None),
        changed(settled=[True]),
        changed(settled=["1"]),
        changed(settled=[-1]),
        changed(settled=[1.5]),
        changed(settled=list(range(MAX_SETTLED + 1))),
        changed(games={}),
        changed(games=[None]),
        changed(games=[{}]),
        changed(games=json.loads(changed())["games"] * 2),
        with_game(game="3"),
        with_game(game=2**63),
        with_game(claimed=None),
        with_game(choices="red"),
        with_game(choices=[1, 2]),
        with_game(choices=["x" * (MAX_CHOICE_LENGTH + 1), "y"]),
        with_game(choices=["x"] * (MAX_CHOICES + 1)),
        with_game(choices=[]),
        with_game(bets=None),
        with_game(bets=[[]]),
        with_bet(choice=2),
        with_bet(choice=-1),
        with_bet(clue=None),
        with_bet(stake=25),
        with_bet(stake="-25"),
        with_bet(stake="²"),
        with_bet(stake="9" * 5000),
        with_bet(accepted="yes"),
    ],
)
def test_a_damaged_or_unknown_file_costs_a_warning_and_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "prg_state.json"
    path.write_bytes(content)
    assert file_in(tmp_path).load() == PlayState()
    assert "can't be used" in caplog.text
    assert [kept.read_bytes() for kept in tmp_path.glob("prg_state.json.damaged-*")] == [content]
    assert not path.exists()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.integers(0, len(changed()) - 1).map(lambda end: changed()[:end]))
def test_no_bytes_in_the_file_raise(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("state")
    (folder / "prg_state.json").write_bytes(content)
    assert file_in(folder).load() == PlayState()


def test_a_file_that_cannot_be_read_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "prg_state.json").mkdir()
    assert file_in(tmp_path).load() == PlayState()
    assert "can't be used" in caplog.text


def test_a_disk_that_takes_nothing_costs_one_warning_for_each_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "logs"
    in_the_way.write_text("a file where the folder should be")
    state, record = file_in(in_the_way), RecordFile(in_the_way / "prg_record.txt")
    for _ in range(3):
        state.save(STATE)
        record.write("bet", "game 3")
    assert len(caplog.records) == 2
    in_the_way.unlink()
    state.save(STATE)
    record.write("bet", "game 4")
    assert file_in(in_the_way).load() == STATE
    assert "game 4" in (in_the_way / "prg_record.txt").read_text()


def test_the_oldest_game_makes_room_for_a_new_one() -> None:
    state = PlayState()
    for number in range(MAX_GAMES + 2):
        state = state.with_game(PlayedGame(game=number, choices=("a",)))
    state = state.with_game(replace(state.games[5], claimed=True))
    assert list(state.games) == list(range(2, MAX_GAMES + 2))


def test_a_settled_game_is_known_as_such_and_the_oldest_of_them_are_forgotten() -> None:
    state = PlayState(games={200: GAME})
    for number in range(MAX_SETTLED + 3):
        state = state.without_game(number)
    assert state.settled == tuple(range(3, MAX_SETTLED + 3))
    assert list(state.games) == [200]


def test_a_game_has_one_bet_for_each_clue() -> None:
    again = GAME.with_bet(replace(BET, accepted=False)).with_bet(PlacedBet(clue=0, choice=0, stake=1))
    assert [(bet.clue, bet.accepted) for bet in again.bets] == [(0, None), (1, False), (2, True)]
    assert again.bet_on(1) == replace(BET, accepted=False)
    assert again.bet_on(7) is None


def test_the_record_is_one_line_an_event_that_begins_with_the_time(tmp_path: Path) -> None:
    record = RecordFile(tmp_path / "logs" / "prg_record.txt")
    record.write("bet", 'game 3 clue 1: "red" for 25 of 100 tokens')
    record.write("claim", "game 3")
    first, second = (tmp_path / "logs" / "prg_record.txt").read_text().splitlines()
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ bet      game 3 clue 1: "red" for 25 of 100 tokens', first)
    assert second.split()[1:] == ["claim", "game", "3"]


def test_a_choice_cannot_forge_a_line_of_the_record(tmp_path: Path) -> None:
    path = tmp_path / "prg_record.txt"
    RecordFile(path).write("bet", 'game 3: "red\n2026-01-01T00:00:00Z outcome  game 3: won\x1b[2J\u2028" \ud800')
    assert len(path.read_text().splitlines()) == 1
    assert "\x1b" not in path.read_text()


def test_state_and_record_may_be_read_by_everybody(tmp_path: Path) -> None:
    file_in(tmp_path).save(STATE)
    assert stat.S_IMODE((tmp_path / "prg_state.json").stat().st_mode) == 0o644

"""``rl-swarm leaderboard``: whom it asks, and what it prints."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console

from rgym_exp import cli
from rgym_exp.base.ports import free_port
from rgym_exp.commands.leaderboard import MODEL_FROM_COLUMNS, show
from rgym_exp.config.invite import Invite
from rgym_exp.hub.api import serving
from rgym_exp.hub.leaderboard_page import Page, page_from_json
from rgym_exp.swarm.identity import load_or_create_identity
from rgym_exp.swarm.names import animal_name

REPOSITORY = Path(__file__).parents[3]


def row(peer_id: str = "QmA", **changes: Any) -> dict[str, Any]:
    return {
        "peer_id": peer_id,
        "rounds": 12,
        "participation": 0.75,
        "reward": 340,
        "wins": 5,
        "judged": {"accuracy": 0.6, "low": 0.31, "high": 0.83, "answers": 10, "asked": 12},
        "bet_tokens": 104.25,
        "last_round": 15,
        "model_name": "SmolLM2-135M-Instruct",
        **changes,
    }


class ServedLeaderboard:
    """A hub that only has a leaderboard, in a thread of its own; it remembers what it was asked."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.answer: Any = {"round": 16, "peer_count": 1, "updated": 2.0, "trouble": None, "peers": [row()]}
        self.asked: list[str] = []
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))
        self._thread.start()
        assert self._ready.wait(20)

    async def _serve(self) -> None:
        async def leaderboard(request: web.Request) -> web.Response:
            self.asked.append(request.query_string)
            return web.json_response(self.answer)

        app = web.Application()
        app.add_routes([web.get("/leaderboard", leaderboard)])
        async with serving(app, "127.0.0.1", self.port):
            self._ready.set()
            await self._stop.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        self._loop.close()


@pytest.fixture
def hub() -> Iterator[ServedLeaderboard]:
    served = ServedLeaderboard()
    yield served
    served.close()


@pytest.fixture(autouse=True)
def no_other_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDENTITY_PATH", "RL_SWARM_HOME"):
        monkeypatch.delenv(name, raising=False)


def run(home: Path, *arguments: str) -> int:
    return cli.main(["leaderboard", "--home", str(home), *arguments])


def shown(answer: dict[str, Any], *, me: str = "", width: int = 80, colours: bool = False) -> str:
    output = io.StringIO()
    page = page_from_json({"round": 16, "peer_count": len(answer.get("peers", [])), **answer})
    console = Console(
        file=output,
        width=width,
        force_terminal=colours,
        color_system="standard" if colours else None,
        highlight=False,
    )
    show(page, me=me, console=console)
    return output.getvalue()


def invite(hub_url: str | None) -> str:
    return Invite(
        swarm_id="s",
        tasks="starter",
        model_name="auto",
        hub_url=hub_url,
        chain_id=None,
        rpc_url=None,
        coordinator_address=None,
        bootnodes=(),
    ).encode()


# ------------------------------------------------------------------ whom it asks


def test_the_named_hub_is_asked_for_so_many_peers(
    tmp_path: Path, hub: ServedLeaderboard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--hub", hub.url, "--limit", "7") == 0
    assert hub.asked == ["limit=7"]
    assert animal_name("QmA") in capsys.readouterr().out


def test_the_hub_of_the_last_run_is_asked(
    tmp_path: Path, hub: ServedLeaderboard, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "config.yaml").write_text(json.dumps({"network": {"hub_url": hub.url}}))
    assert run(tmp_path) == 0
    assert animal_name("QmA") in capsys.readouterr().out


def test_the_hub_in_an_invite_is_asked(
    tmp_path: Path, hub: ServedLeaderboard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--join", invite(hub.url)) == 0
    assert animal_name("QmA") in capsys.readouterr().out


def test_an_invite_without_a_hub_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--join", invite(None)) == 1
    assert "names no hub" in capsys.readouterr().err


def test_a_hub_that_is_away_is_one_sentence_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--hub", f"http://127.0.0.1:{free_port()}") == 1
    said = capsys.readouterr().err
    assert "does not answer" in said and "rl-swarm hub" in said and "Traceback" not in said


@pytest.mark.parametrize(
    "arguments", [["--limit", "0"], ["--limit", "501"], ["--limit", "x"], ["--hub", "a", "--join", "b"]]
)
def test_wrong_usage_is_told_as_such(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path, *arguments)


# ------------------------------------------------------------------ what it prints


def test_a_row_shows_what_is_known_of_a_peer() -> None:
    head, columns, line = shown({"peers": [row()], "updated": 3.2}).splitlines()
    assert head == "Round 16. 1 peer; as of 3 s ago."
    assert columns.split() == ["#", "name", "rounds", "part", "reward", "votes", "judged", "tokens"]
    assert line.split() == ["1", *animal_name("QmA").split(), "12", "75%", "340", "5", "60%", "31-83", "104.2"]


def test_eighty_columns_hold_the_longest_name_and_large_numbers() -> None:
    # "insectivorous carnivorous barracuda" is as long as names get: its end gives way, the numbers don't.
    longest = max((f"Qm{number}" for number in range(60_000)), key=lambda peer: len(animal_name(peer)))
    assert len(animal_name(longest)) >= 27
    judged = {"accuracy": 1.0, "low": 0.99, "high": 1.0, "answers": 5, "asked": 500}
    large = row(longest, rounds=99999, reward=-(2**53) + 1, wins=2**53 - 1, bet_tokens=99999.9, judged=judged)
    text = shown({"peers": [row()] * 499 + [large]})
    assert animal_name(longest)[:27] in text and "-9.0e15" in text and "99999.9" in text
    assert max(map(len, text.splitlines())) <= 80


def test_models_are_shown_where_there_is_room() -> None:
    answer = {"peers": [row()]}
    assert "SmolLM2" not in shown(answer, width=80)
    assert "SmolLM2-135M-Instruct" in shown(answer, width=MODEL_FROM_COLUMNS)


def test_columns_that_hold_nothing_are_left_out() -> None:
    columns = shown({"peers": [row(judged=None, bet_tokens=None)]}).splitlines()[1]
    assert "judged" not in columns and "tokens" not in columns


def test_an_accuracy_from_few_of_the_questions_is_marked_and_the_mark_explained() -> None:
    few = {"accuracy": 1.0, "low": 0.72, "high": 1.0, "answers": 10, "asked": 100}
    assert "100% 72-100?" in (text := shown({"peers": [row(judged=few)]}))
    assert "? left more than half of the judge's questions unanswered" in text
    assert "?" not in shown({"peers": [row()]})


def test_this_node_is_marked_without_colours_too() -> None:
    text = shown({"peers": [row("QmA"), row("QmB")]}, me="QmB")
    assert "*2" in text and "* this node" in text and "*1" not in text


def test_a_node_that_is_not_on_the_leaderboard_is_told() -> None:
    assert "This node is not among them" in shown({"peers": [row("QmA")]}, me="QmB")
    assert "This node" not in shown({"peers": [row("QmA")]}, me="")


def test_the_own_peer_is_that_of_this_home(
    tmp_path: Path, hub: ServedLeaderboard, capsys: pytest.CaptureFixture[str]
) -> None:
    me = load_or_create_identity(tmp_path / "swarm.pem").peer_id
    hub.answer["peers"] = [row(), row(me)]
    assert run(tmp_path, "--hub", hub.url) == 0
    assert "*2" in capsys.readouterr().out


def test_an_empty_leaderboard_says_how_it_fills() -> None:
    assert "Nobody has reported a reward yet" in shown({"peers": []})


def test_more_peers_than_shown_are_counted_and_trouble_is_told() -> None:
    text = shown({"peers": [row()], "peer_count": 900, "trouble": "The chain\x1b[2J is away."})
    assert "900 peers, the first 1" in text
    assert "Not up to date: The chain?[2J is away." in text


def test_words_of_strangers_cannot_steer_the_terminal_or_rich() -> None:
    hostile = row(model_name="[bold red]\x1b[31mm\r\nx[/]", name="\x1b[2J")
    text = shown({"peers": [hostile], "trouble": "[link=http://x]\x07"}, width=160)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "[link=http://x]?" in text


def test_with_colours_only_our_own_are_printed() -> None:
    text = shown({"peers": [row(), row("QmB", model_name="\x1b[5m")]}, me="QmB", width=160, colours=True)
    assert "\x1b[1;32m" in text and "\x1b[5m" not in text


def test_json_is_what_programs_read(tmp_path: Path, hub: ServedLeaderboard, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--hub", hub.url, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["round"] == 16
    assert printed["peers"] == [{"name": animal_name("QmA"), **row()}]


def test_piped_the_table_has_no_colours_and_fits_80_columns(tmp_path: Path, hub: ServedLeaderboard) -> None:
    peer = load_or_create_identity(tmp_path / "swarm.pem").peer_id
    hub.answer["peers"] = [row(), row(peer)]
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    printed = subprocess.run(
        [sys.executable, "-m", "rgym_exp.cli", "leaderboard", "--home", str(tmp_path), "--hub", hub.url],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
    ).stdout
    assert "\x1b" not in printed and "* this node" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_an_answer_that_is_none_is_told(
    tmp_path: Path, hub: ServedLeaderboard, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.answer = ["hello"]
    assert run(tmp_path, "--hub", hub.url) == 1
    assert "not as a hub of RL Swarm does" in capsys.readouterr().err


def test_a_page_with_nothing_shown_is_a_page() -> None:
    assert isinstance(page_from_json({"peers": []}), Page)

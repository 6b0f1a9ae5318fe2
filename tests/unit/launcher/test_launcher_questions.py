"""Who is asked what: only a person, only what nothing else answers, and on the local network nothing at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

TOKEN_QUESTION = "Hugging Face token, which gated models need?"
MODEL_QUESTION = "Model to train:"
MARKET_QUESTION = "Prediction Market?"


@pytest.fixture
def sit_down(checkout: Any, terminal: list[Any]) -> Callable[..., Any]:
    """Start the launcher at a terminal; it shows the command that it would run, and stops."""

    def start(*arguments: str, **variables: str) -> Any:
        terminal.append(checkout.at_terminal(*arguments, "--print-command", **variables))
        return terminal[-1]

    return start


def test_a_newcomer_on_the_local_network_is_asked_nothing(sit_down: Callable[..., Any], checkout: Any) -> None:
    assert sit_down().end() == f"RL_SWARM_HOME={str(checkout.root).replace(' ', chr(92) + ' ')} rl-swarm run\n"


def test_the_offline_network_asks_nothing(sit_down: Callable[..., Any]) -> None:
    assert "?" not in sit_down("--network", "offline").end()


def test_on_the_testnet_the_answers_become_variables_of_the_run(sit_down: Callable[..., Any]) -> None:
    person = sit_down("--network", "gensyn-testnet")
    person.wait_for(TOKEN_QUESTION)
    person.type("hf_secret")
    person.wait_for(MODEL_QUESTION)
    person.type("Qwen/Qwen3-0.6B")
    person.wait_for(MARKET_QUESTION)
    person.type("n")
    command = person.end().splitlines()[-1]
    assert command.startswith("MODEL_NAME=Qwen/Qwen3-0.6B PRG_GAME=false HF_TOKEN=... ")
    assert command.endswith("rl-swarm run --network gensyn-testnet")


def test_a_typed_token_is_never_on_the_screen(sit_down: Callable[..., Any]) -> None:
    person = sit_down("--network", "gensyn-testnet", MODEL_NAME="", PRG_GAME="true")
    person.wait_for(TOKEN_QUESTION)
    person.type("hf_secret")
    screen = person.end()
    assert "HF_TOKEN=..." in screen
    assert "hf_secret" not in screen


def test_enter_takes_the_defaults_no_token_the_networks_model_and_the_market(sit_down: Callable[..., Any]) -> None:
    person = sit_down("--network", "gensyn-testnet")
    for question in (TOKEN_QUESTION, MODEL_QUESTION, MARKET_QUESTION):
        person.wait_for(question)
        person.type("")
    command = person.end().splitlines()[-1]
    assert command.startswith("PRG_GAME=true RL_SWARM_HOME=")


def test_a_no_to_the_token_question_is_not_taken_for_a_token(sit_down: Callable[..., Any]) -> None:
    person = sit_down("--network", "gensyn-testnet", MODEL_NAME="", PRG_GAME="true")
    person.wait_for(TOKEN_QUESTION)
    person.type("N")
    assert "HF_TOKEN" not in person.end().splitlines()[-1]


def test_who_joins_by_invite_is_asked_for_token_and_model_only(sit_down: Callable[..., Any]) -> None:
    person = sit_down("--join", "rlswarm1:abc")
    person.wait_for(TOKEN_QUESTION)
    person.type("")
    person.wait_for(MODEL_QUESTION)
    person.type("")
    assert MARKET_QUESTION not in person.end()


def test_connect_to_testnet_asks_what_the_testnet_asks(sit_down: Callable[..., Any]) -> None:
    person = sit_down(CONNECT_TO_TESTNET="true", HF_TOKEN="", MODEL_NAME="")
    person.wait_for(MARKET_QUESTION)
    person.type("y")
    assert "PRG_GAME=true" in person.end()


def test_variables_and_settings_answer_for_the_person(sit_down: Callable[..., Any]) -> None:
    screen = sit_down(
        "--network", "gensyn-testnet", "training.model_name=small", "prg_game_config.prg_game=false", HF_TOKEN="hf_x"
    ).end()
    assert len(screen.splitlines()) == 1
    assert "PRG_GAME" not in screen


def test_the_older_variable_of_the_token_is_passed_on_by_its_newer_name(sit_down: Callable[..., Any]) -> None:
    assert "HF_TOKEN=..." in sit_down(HUGGINGFACE_ACCESS_TOKEN="hf_x").end()


def test_the_word_none_in_the_older_variable_means_no_token(sit_down: Callable[..., Any]) -> None:
    screen = sit_down("--network", "gensyn-testnet", "--yes", HUGGINGFACE_ACCESS_TOKEN="None").end()
    assert "HF_TOKEN" not in screen


def test_yes_asks_nothing(sit_down: Callable[..., Any]) -> None:
    assert len(sit_down("--network", "gensyn-testnet", "--yes").end().splitlines()) == 1


def test_without_a_terminal_nothing_is_asked(checkout: Any) -> None:
    done = checkout.run("--network", "gensyn-testnet", "--print-command")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].endswith("rl-swarm run --network gensyn-testnet")
    assert "?" not in done.stdout + done.stderr

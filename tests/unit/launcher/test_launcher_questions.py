"""Who is asked what: only a person, only what nothing else answers, and on the local network nothing at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

PUSH_QUESTION = "Push the model you train to the Hugging Face Hub?"
TOKEN_QUESTION = "Token with the right to write"
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
    person.wait_for(PUSH_QUESTION)
    person.type("y")
    person.wait_for(TOKEN_QUESTION)
    person.type("hf_secret")
    person.wait_for(MODEL_QUESTION)
    person.type("Qwen/Qwen3-0.6B")
    person.wait_for(MARKET_QUESTION)
    person.type("n")
    command = person.end().splitlines()[-1]
    assert command.startswith(
        "MODEL_NAME=Qwen/Qwen3-0.6B PRG_GAME=false HF_TOKEN=... HUGGINGFACE_ACCESS_TOKEN=... RL_SWARM_HOME="
    )
    assert command.endswith("rl-swarm run --network gensyn-testnet")


def test_a_typed_token_is_never_on_the_screen(sit_down: Callable[..., Any]) -> None:
    person = sit_down("--network", "gensyn-testnet", MODEL_NAME="", PRG_GAME="true")
    person.wait_for(PUSH_QUESTION)
    person.type("yes")
    person.wait_for(TOKEN_QUESTION)
    person.type("hf_secret")
    screen = person.end()
    assert "HUGGINGFACE_ACCESS_TOKEN=..." in screen
    assert "hf_secret" not in screen


def test_enter_takes_the_defaults_no_push_the_networks_model_and_the_market(sit_down: Callable[..., Any]) -> None:
    person = sit_down("--network", "gensyn-testnet")
    for question in (PUSH_QUESTION, MODEL_QUESTION, MARKET_QUESTION):
        person.wait_for(question)
        person.type("")
    screen = person.end()
    assert TOKEN_QUESTION not in screen
    assert screen.splitlines()[-1].startswith("PRG_GAME=true RL_SWARM_HOME=")


@pytest.mark.parametrize("token", ["", "N", "none"])
def test_a_yes_without_a_token_pushes_nothing_and_says_so(sit_down: Callable[..., Any], token: str) -> None:
    person = sit_down("--network", "gensyn-testnet", MODEL_NAME="", PRG_GAME="true")
    person.wait_for(PUSH_QUESTION)
    person.type("y")
    person.wait_for(TOKEN_QUESTION)
    person.type(token)
    screen = person.end()
    assert "Without a token the model is not pushed." in screen
    assert "=..." not in screen.splitlines()[-1]


def test_a_token_in_answer_to_the_question_itself_is_a_yes(sit_down: Callable[..., Any]) -> None:
    person = sit_down("--network", "gensyn-testnet", MODEL_NAME="", PRG_GAME="true")
    person.wait_for(PUSH_QUESTION)
    person.type("hf_pasted")
    assert "HUGGINGFACE_ACCESS_TOKEN=..." in person.end().splitlines()[-1]


def test_an_answer_that_is_neither_yes_nor_no_is_asked_for_again(sit_down: Callable[..., Any]) -> None:
    person = sit_down("--network", "gensyn-testnet")
    for question, odd, answer in (
        (PUSH_QUESTION, "maybe", "n"),
        (MODEL_QUESTION, "?", ""),
        (MARKET_QUESTION, "q", "n"),
    ):
        person.wait_for(question)
        person.type(odd)
        person.wait_for("Please answer y or n" if question != MODEL_QUESTION else "A name is like")
        person.wait_for(question)
        person.type(answer)
    screen = person.end()
    assert "PRG_GAME=false RL_SWARM_HOME=" in screen.splitlines()[-1] and "MODEL_NAME" not in screen
    assert [screen.count(question) for question in (PUSH_QUESTION, MODEL_QUESTION, MARKET_QUESTION)] == [2, 2, 2]


def test_what_is_no_token_is_not_taken_for_one(sit_down: Callable[..., Any]) -> None:
    person = sit_down("--network", "gensyn-testnet", MODEL_NAME="", PRG_GAME="true")
    person.wait_for(PUSH_QUESTION)
    person.type("y")
    person.wait_for(TOKEN_QUESTION)
    person.type("not-a-token")
    screen = person.end()
    assert "That is no token" in screen and "=..." not in screen.splitlines()[-1]


def test_who_joins_by_invite_is_asked_for_push_and_model_only(sit_down: Callable[..., Any]) -> None:
    person = sit_down("--join", "rlswarm1:abc")
    person.wait_for(PUSH_QUESTION)
    person.type("n")
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


def test_a_token_to_fetch_models_is_no_token_to_push_with(sit_down: Callable[..., Any]) -> None:
    screen = sit_down("--network", "gensyn-testnet", "--yes", HF_TOKEN="hf_x").end()
    assert "HF_TOKEN=... RL_SWARM_HOME" in screen
    assert "HUGGINGFACE_ACCESS_TOKEN" not in screen


def test_the_token_to_push_with_fetches_models_too(sit_down: Callable[..., Any]) -> None:
    assert "HF_TOKEN=... HUGGINGFACE_ACCESS_TOKEN=..." in sit_down(HUGGINGFACE_ACCESS_TOKEN="hf_x").end()


@pytest.mark.parametrize("nothing", ["None", "none", ""])
def test_earlier_launchers_word_for_no_token_is_none(sit_down: Callable[..., Any], nothing: str) -> None:
    person = sit_down("--network", "gensyn-testnet", MODEL_NAME="", PRG_GAME="true", HUGGINGFACE_ACCESS_TOKEN=nothing)
    screen = person.end()
    assert PUSH_QUESTION not in screen
    assert "TOKEN" not in screen


def test_the_run_gets_both_tokens_and_they_are_written_nowhere(checkout: Any, terminal: list[Any]) -> None:
    checkout.add_environment()
    person = checkout.at_terminal(
        "--join", "rlswarm1:abc", "observe.page=no", MODEL_NAME="", VIRTUAL_ENV=checkout.environ["VIRTUAL_ENV"]
    )
    terminal.append(person)
    person.wait_for(PUSH_QUESTION)
    person.type("y")
    person.wait_for(TOKEN_QUESTION)
    person.type("hf_secret")
    # The stand-in for rl-swarm tells what it was given.
    assert "token=hf_secret push=hf_secret" in person.end()
    written = [file for file in checkout.root.rglob("*") if file.is_file()]
    assert written and not any(b"hf_secret" in file.read_bytes() for file in written)


def test_yes_asks_nothing(sit_down: Callable[..., Any]) -> None:
    assert len(sit_down("--network", "gensyn-testnet", "--yes").end().splitlines()) == 1


def test_without_a_terminal_nothing_is_asked(checkout: Any) -> None:
    done = checkout.run("--network", "gensyn-testnet", "--print-command")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].endswith("rl-swarm run --network gensyn-testnet")
    assert "?" not in done.stdout + done.stderr

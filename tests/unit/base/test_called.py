"""Messages name a command as this user would type it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from rgym_exp.base.called import as_called, examples_as_called, path_for_user
from rgym_exp.cli import COMMANDS, main

PACKAGE = Path(__file__).parents[3] / "rgym_exp"


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({}, "rl-swarm login --headless"),
        ({"RL_SWARM_COMMAND": "./run_rl_swarm.sh"}, "./run_rl_swarm.sh login --headless"),
        (
            {"RL_SWARM_COMMAND": "docker compose run --rm -it swarm-cpu"},
            "docker compose run --rm -it swarm-cpu login --headless",
        ),
    ],
)
def test_a_command_is_named_as_it_was_called(environ: dict[str, str], line: str) -> None:
    assert as_called("login --headless", environ) == line
    assert examples_as_called("  rl-swarm login --headless   a key", environ) == f"  {line}   a key"


def test_help_has_examples_that_can_be_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RL_SWARM_COMMAND", "./run_rl_swarm.sh")
    for command in ("", *COMMANDS):
        with pytest.raises(SystemExit):
            main([*filter(None, [command]), "--help"])
        said = capsys.readouterr().out
        assert "./run_rl_swarm.sh" in said and not re.search(r"(?<![./\w-])rl-swarm [a-z]", said), command


def test_no_message_spells_the_command_itself() -> None:
    """Help texts' examples are worded by ``examples_as_called``; all else by ``as_called``."""
    # With a colon it says who speaks, and is nothing to type.
    spelt = re.compile(rf"rl-swarm ({'|'.join(COMMANDS)})\b(?!:)")
    found = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "EPILOG" for t in node.targets):
                said.add(id(node.value))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
                found += [f"{path.name}: {each.group()}" for each in spelt.finditer(node.value)]
    assert found == []


def test_a_file_in_a_containers_home_is_named_as_it_is_outside() -> None:
    environ = {"RL_SWARM_HOME": "/user", "RL_SWARM_HOME_ON_HOST": "./user"}
    assert path_for_user(Path("/user/logs/metrics.png"), environ) == Path("user/logs/metrics.png")
    assert path_for_user(Path("/tmp/x.png"), environ) == Path("/tmp/x.png")
    assert path_for_user(Path("/user/x"), {"RL_SWARM_HOME": "/user"}) == Path("/user/x")

"""docs/operations.md can be copied: its commands exist with their options, and systemd takes its unit."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rgym_exp.cli import COMMANDS, build_parser

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
_OTHER_PAGES = [f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))]
_COMMAND = re.compile(r"run_rl_swarm\.sh ([^\n`#&|]*)")


def commands() -> Iterator[list[str]]:
    """The words after each ``run_rl_swarm.sh`` of the page, with lines that go on joined."""
    for found in _COMMAND.finditer(PAGE.replace("\\\n", " ").replace("<the invite>", "rlswarm1:x")):
        if words := shlex.split(found[1].split(")")[0].rstrip("*,;. ")):
            yield words


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_a_command_of_the_page_is_one_with_these_options(words: list[str]) -> None:
    line = words if words[0] in COMMANDS else ["run", *words]
    _, unknown = build_parser(line[0]).parse_known_args([word for word in line if word != "--help"])
    assert [word for word in unknown if word.startswith("-") or "=" not in word] == []


def test_the_page_has_commands_to_check() -> None:
    assert {words[0] for words in commands()} >= {"hub", "invite", "doctor", "--join"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "rl-swarm-hub.service"
    found = re.search(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    unit.write_text(found[1].replace("/srv/swarm/rl-swarm", str(ROOT)))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", *_OTHER_PAGES])
def test_no_page_has_a_figure_still_to_come_or_a_link_to_nothing(page: str) -> None:
    file = ROOT / page
    text = file.read_text(encoding="utf-8")
    assert "<<" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if "://" not in link]
    assert [link for link in links if not (file.parent / link).exists()] == []


def test_what_the_page_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
    named = re.findall(r"`((?:tests|benchmarks)/[\w./-]+)`", PAGE)
    assert [name for name in named if not (ROOT / name).exists()] == []

"""docs/metrics.md and the code say the same."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from rgym_exp.config.schema import Config
from rgym_exp.observe.metrics import scalars
from rgym_exp.observe.plot_data import PHASES
from rgym_exp.types import RoundReport
from tests.unit.observe.test_metrics import report

REPOSITORY = Path(__file__).parents[3]
PAGE = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
WORDS = set(re.findall(r"`([^`\n]+)`", PAGE))
REFUSALS = {"AnnouncementRejected", "ShareRejected", "FetchFailed", "_refuse", "_drop", "add"}


def test_every_key_of_a_line_is_explained() -> None:
    assert {field.name for field in fields(RoundReport)} <= WORDS


def test_every_name_in_a_tracker_is_explained() -> None:
    # Reasons and phases have tables of their own.
    names = {
        name for name in scalars(report(external_reward=0.5)) if not name.startswith(("dropped/", "seconds/", "ways/"))
    }
    assert names <= WORDS
    assert {"dropped/<reason>", "seconds/<phase>"} <= WORDS


def test_every_phase_of_a_round_is_explained_and_drawn() -> None:
    timed = set()
    for path in (REPOSITORY / "rgym_exp" / "node").glob("*.py"):
        timed |= set(re.findall(r"with phases\(\"(\w+)\"[,)]", path.read_text(encoding="utf-8")))
    assert timed == set(PHASES)
    assert {f"seconds/{phase}" for phase in timed} <= WORDS


def reasons_in(path: Path) -> Iterator[str]:
    """Words under which a module counts what it drops: what a refusal is made with, and what an objection returns."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        values: list[ast.expr] = []
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            values = [value for argument in node.args if name in REFUSALS for value in ast.walk(argument)]  # type: ignore[misc]
        elif isinstance(node, ast.Return) and node.value is not None:
            values = list(ast.walk(node.value))  # type: ignore[arg-type]
        for value in values:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


def test_every_reason_for_a_drop_is_explained() -> None:
    modules = ("share", "verify", "transfer", "validator", "announcement", "gathering", "dht_records")
    found = {word for module in modules for word in reasons_in(REPOSITORY / "rgym_exp" / "swarm" / f"{module}.py")}
    reasons = {word for word in found if re.fullmatch(r"[a-z]+(_[a-z]+)*", word)}
    assert len(reasons) > 20
    assert reasons <= WORDS


def test_every_setting_on_the_page_exists() -> None:
    sections = {
        section.name: section.default_factory for section in fields(Config) if callable(section.default_factory)
    }
    named = [word.split("=")[0].split(":")[0].split(".") for word in WORDS if re.match(r"[a-z_]+\.[a-z_]+", word)]
    settings = [parts for parts in named if parts[0] in sections and len(parts) == 2]
    assert len(settings) > 15
    for section, key in settings:
        assert hasattr(sections[section](), key), f"{section}.{key}"

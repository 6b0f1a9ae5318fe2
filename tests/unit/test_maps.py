"""The packages' docstrings are maps: every module that they name is there."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "rgym_exp"
OTHER_NAMES = {"TaskSource", "ReasoningGymTasks", "Coordinator", "Market"}


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))
def test_a_map_names_modules_that_are_there(folder: str) -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text())) or ""
    named = set(re.findall(r"`+(\w+)`+", text)) - OTHER_NAMES
    assert {name for name in named if not (PACKAGE / folder / f"{name}.py").exists()} == set()


def test_the_maps_lead_somewhere() -> None:
    assert sum(len(list(path.parent.glob("*.py"))) for path in PACKAGE.glob("*/__init__.py")) > 100

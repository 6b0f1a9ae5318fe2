"""The proof behind the allow-list: by reading the scorers' source, and by running them."""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import json
import os
import subprocess
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from reasoning_gym.factory import DATASETS, create_dataset

from rgym_exp.tasks.allowlist import ALLOWED, CLEAN, LEFT_OUT, LITERAL, PROVEN_VERSION
from rgym_exp.tasks.scoring_sandbox import ScoringSandbox
from rgym_exp.types import Problem

SIZE = 2**40
INDICES = [int(hashlib.sha256(b"item %d" % n).hexdigest()[:10], 16) for n in range(3)]
ROOT = Path(__file__).resolve().parents[3]

TRUSTED_MODULES = """
    builtins calendar collections copy dataclasses datetime decimal enum fractions functools itertools json math
    numbers operator random re string typing
    """
"""Standard modules that run no text as code, whatever they are given, but for the names below."""

FORBIDDEN_NAMES = """
    __builtins__ __class__ __dict__ __globals__ __import__ __subclasses__ breakpoint compile delattr eval exec
    eval_expr format_map getattr globals import_module input lambdify literal_eval load locals open parse_expr Popen
    popen read_bytes read_text run_path setattr stringify_expr sympify system urlopen vars write_bytes write_text
    """

FROM_SOMEWHERE = types.ModuleType | types.FunctionType | types.BuiltinFunctionType | type


class ScorerSource:
    """Everything of reasoning-gym that a dataset's ``score_answer`` can reach, read for what it must not contain.

    From ``score_answer`` on, every name and attribute is looked up as Python would: functions and classes of
    reasoning-gym are read in turn; anything of another package that isn't a trusted part of the standard library,
    any forbidden name, and any import inside a function is a finding.
    """

    def __init__(self, dataset_class: Any) -> None:
        self.findings: set[str] = set()
        self.read: set[tuple[types.FunctionType, type]] = set()
        self._waiting: list[tuple[Any, type]] = [(dataset_class.score_answer, dataset_class)]
        while self._waiting:
            function, owner = self._waiting.pop()
            function = inspect.unwrap(getattr(function, "__func__", function))
            if (function, owner) not in self.read:
                self.read.add((function, owner))
                self._read(function, owner)

    def _read(self, function: types.FunctionType, owner: type) -> None:
        if function.__code__.co_filename == "<string>":
            return  # what @dataclass writes: it stores its arguments
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.findings.add(f"import {ast.unparse(node)}")
            elif isinstance(node, ast.Name | ast.Attribute):
                self._judge(node, function, owner)

    def _judge(self, node: ast.Name | ast.Attribute, function: types.FunctionType, owner: type) -> None:
        name = node.id if isinstance(node, ast.Name) else node.attr
        found = _look_up(node, function, owner)
        found = getattr(found, "__func__", found)
        home = _home_of(found)
        root = home.split(".")[0]
        ours = root == "reasoning_gym"
        if name in FORBIDDEN_NAMES.split() and not (ours and isinstance(found, types.FunctionType)):
            self.findings.add(name)
        if name == "format" and isinstance(node, ast.Attribute) and not _is_constant(node.value):
            self.findings.add("format of a text that isn't a constant")
        if ours and isinstance(found, types.FunctionType):
            self._waiting.append((found, owner))
        elif ours and isinstance(found, type) and found is not owner:
            self._waiting.extend((method, found) for method in _methods(found))
        elif not ours and isinstance(found, FROM_SOMEWHERE) and root.lstrip("_") not in TRUSTED_MODULES.split():
            self.findings.add(f"{home}.{name}")


def _look_up(node: ast.expr, function: types.FunctionType, owner: type) -> Any:
    if isinstance(node, ast.Name):
        if node.id in ("self", "cls"):
            return owner
        return function.__globals__.get(node.id, getattr(builtins, node.id, None))
    if isinstance(node, ast.Attribute):
        base = _look_up(node.value, function, owner)
        if isinstance(base, types.ModuleType | type):
            return getattr(base, node.attr, None)
    return None


def _home_of(found: Any) -> str:
    """The module that something comes from; a built-in method comes from where its type does."""
    if isinstance(found, types.ModuleType):
        return found.__name__
    return getattr(found, "__module__", None) or getattr(getattr(found, "__self__", None), "__module__", None) or ""


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id.isupper())


def _methods(found: type) -> Iterator[types.FunctionType]:
    for value in vars(found).values():
        value = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if isinstance(value, types.FunctionType) and value.__module__.startswith("reasoning_gym"):
            yield value


def findings_of(dataset: str) -> set[str]:
    return ScorerSource(DATASETS[dataset][0]).findings


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ScoringSandbox]:
    sandbox = ScoringSandbox({name: {} for name in ALLOWED}, seed=0, size=SIZE)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def items() -> dict[str, list[Mapping[str, Any]]]:
    """Three items of every allowed dataset."""
    datasets = {name: create_dataset(name, seed=0, size=SIZE) for name in sorted(ALLOWED)}
    return {name: [dataset[index] for index in INDICES] for name, dataset in datasets.items()}


def problem_of(dataset: str, item: Mapping[str, Any]) -> Problem:
    return Problem(slot=0, dataset=dataset, question=item["question"], entry=item)


def right_answer(item: Mapping[str, Any]) -> str:
    answer = item["answer"] if item["answer"] is not None else item["metadata"]["example_answer"]
    return str(answer)


def test_the_proof_was_made_for_the_installed_version_and_covers_all_of_its_datasets() -> None:
    assert version("reasoning-gym") == PROVEN_VERSION
    assert set(DATASETS) == ALLOWED | set(LEFT_OUT)
    assert not ALLOWED & set(LEFT_OUT)
    assert not CLEAN & LITERAL


@pytest.mark.parametrize("dataset", sorted(CLEAN))
def test_a_clean_scorer_reaches_nothing_that_evaluates(dataset: str) -> None:
    # The silent print is ours, put there where another test drew from this dataset in the same process.
    assert findings_of(dataset) - {"rgym_exp.tasks.datasets.print"} == set()


@pytest.mark.parametrize("dataset", sorted(LITERAL))
def test_a_literal_scorer_reaches_eval_and_nothing_else(dataset: str) -> None:
    assert findings_of(dataset) == {"eval"}


@pytest.mark.parametrize(
    ("dataset", "found"),
    [
        ("countdown", "parse_expr"),
        ("puzzle24", "parse_expr"),
        ("simple_integration", "parse_expr"),
        ("polynomial_multiplication", "parse_expr"),
        ("bitwise_arithmetic", "eval"),
        ("rubiks_cube", "magiccube.cube.Cube"),
    ],
)
def test_the_reading_finds_what_is_known_to_be_dangerous(dataset: str, found: str) -> None:
    assert found in findings_of(dataset)
    assert dataset in LEFT_OUT


def test_the_reading_follows_methods_and_functions() -> None:
    read = {function.__qualname__ for function, _ in ScorerSource(DATASETS["propositional_logic"][0]).read}
    assert {"PropositionalLogicDataset._is_valid_conclusion", "Expression.from_string", "parse_expr"} <= read


def test_in_the_worker_every_module_of_reasoning_gym_has_another_eval() -> None:
    told = in_a_fresh_process(
        """
        import builtins, json, sys
        import reasoning_gym
        from rgym_exp.tasks import scoring_worker
        scoring_worker.replace_evaluation()
        modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "reasoning_gym"]
        from reasoning_gym.games import countdown
        print(json.dumps({
            "modules": len(modules),
            "eval": all(m.eval is scoring_worker.literal for m in modules),
            "exec": all(m.exec is scoring_worker.refuse_to_run for m in modules),
            "parse_expr": countdown.parse_expr is scoring_worker.refuse_to_run,
        }))
        """
    )
    assert told["modules"] > 100
    assert told["eval"] and told["exec"] and told["parse_expr"]


def test_problems_are_the_same_in_every_process(items: dict[str, list[Mapping[str, Any]]]) -> None:
    names = sorted(ALLOWED)
    told = in_a_fresh_process(
        f"""
        import json, random
        from reasoning_gym.factory import create_dataset
        told = {{}}
        for name in {names!r}:
            dataset = create_dataset(name, seed=0, size={SIZE})
            told[name] = [[dataset[i]["question"], str(dataset[i]["answer"])] for i in {INDICES!r}]
        print()
        print(json.dumps(told))
        """
    )
    here = {name: [[item["question"], str(item["answer"])] for item in items[name]] for name in names}
    assert told == here


def test_the_sandbox_gives_the_score_that_the_scorer_gives(
    sandbox: ScoringSandbox, items: dict[str, list[Mapping[str, Any]]]
) -> None:
    answers, expected = [], []
    for name in sorted(ALLOWED):
        scorer = create_dataset(name, seed=0, size=SIZE)
        for item in items[name]:
            right = right_answer(item)
            for answer in (right, right + " ", f"It is {right}", right[:-1], right[::-1], "0", "[[1, 0], [0, 1]]"):
                answers.append((problem_of(name, item), answer))
                try:
                    expected.append(float(scorer.score_answer(answer, item)))
                except ValueError:
                    expected.append(0.0)
    assert sandbox.score(answers) == pytest.approx(expected)


def test_every_right_answer_scores_one(sandbox: ScoringSandbox, items: dict[str, list[Mapping[str, Any]]]) -> None:
    answers = [(problem_of(name, item), right_answer(item)) for name in sorted(ALLOWED) for item in items[name]]
    scores = sandbox.score(answers)
    wrong = {problem.dataset: score for (problem, _), score in zip(answers, scores, strict=True) if score != 1.0}
    assert wrong == {}


def test_no_scorer_takes_just_any_text_for_right(
    sandbox: ScoringSandbox, items: dict[str, list[Mapping[str, Any]]]
) -> None:
    texts = ["hello world", "-", "((((", "zzz", "a b c"]
    answers = [(problem_of(name, item), text) for name in sorted(ALLOWED) for item in items[name] for text in texts]
    taken = {asked.dataset for (asked, _), score in zip(answers, sandbox.score(answers), strict=True) if score > 0.5}
    assert taken == set()


def test_no_completion_makes_a_file(
    sandbox: ScoringSandbox, items: dict[str, list[Mapping[str, Any]]], tmp_path: Path
) -> None:
    made = tmp_path / "made"
    code = f"open({str(made)!r}, 'w').write('x')"
    exploits = [
        code,
        f"{code} and [[1]]",
        f"[{code}]",
        f"__import__('pathlib').Path({str(made)!r}).touch()",
        f"{{{code}}}",
    ]
    answers = [
        (problem_of(name, item), exploit) for name in sorted(ALLOWED) for item in items[name] for exploit in exploits
    ]
    scores = sandbox.score(answers)
    assert not made.exists()
    assert max(scores) < 1.0


def test_without_the_sandbox_the_same_completion_does_make_a_file(tmp_path: Path) -> None:
    made = tmp_path / "made"
    told = in_a_fresh_process(
        f"""
        import json
        from reasoning_gym.factory import create_dataset
        dataset = create_dataset("binary_matrix", seed=0, size=10)
        answer = "open({str(made)!r}, 'w').write('x') and [[1]]"
        print(json.dumps(dataset.score_answer(answer, dataset[0])))
        """
    )
    assert told == 0.0
    assert made.exists()


def in_a_fresh_process(script: str) -> Any:
    """What a script prints last, read as JSON. Sets of texts come in another order there than here."""
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONHASHSEED": "random", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return json.loads(finished.stdout.splitlines()[-1])

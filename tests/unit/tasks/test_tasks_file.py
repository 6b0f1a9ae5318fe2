"""Tasks files: what may stand in one, and what is said when it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from rgym_exp.errors import TasksError
from rgym_exp.tasks.allowlist import LEFT_OUT
from rgym_exp.tasks.datasets import Datasets
from rgym_exp.tasks.file import SHIPPED_FOLDER, TasksFile, find_tasks_file, load_tasks_file
from rgym_exp.tasks.source import tasks_digest

SMALLEST = "max_completion_length: 20\ndatasets: {gcd: {params: {max_value: 24}}}\n"


def tasks_of(folder: Path, text: str) -> TasksFile:
    path = folder / "tasks.yaml"
    path.write_text(text)
    return load_tasks_file(path)


def complaint_about(folder: Path, text: str) -> str:
    with pytest.raises(TasksError) as raised:
        Datasets(tasks_of(folder, text))
    return str(raised.value)


def test_a_file_needs_only_datasets_and_a_length(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path, SMALLEST)
    assert tasks.max_completion_length == 20
    assert tasks.datasets["gcd"].weight == 1.0
    assert tasks.datasets["gcd"].params == {"max_value": 24}
    assert (tasks.system_prompt, tasks.examples, tasks.answer_tag, tasks.partial_credit) == ("", (), "answer", False)


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED_FOLDER.glob("*.yaml")))
def test_every_shipped_file_is_valid_and_found_by_its_name(name: str) -> None:
    tasks = load_tasks_file(find_tasks_file(name))
    Datasets(tasks)
    assert tasks.system_prompt
    assert all(f"<{tasks.answer_tag}>" in example.assistant for example in tasks.examples)


def test_the_full_mix_has_the_nine_datasets_with_equal_weights() -> None:
    datasets = load_tasks_file(find_tasks_file("reasoning-gym")).datasets
    nine = """arc_1d basic_arithmetic base_conversion bf binary_matrix calendar_arithmetic decimal_arithmetic
        fraction_simplification propositional_logic"""
    assert set(datasets) == set(nine.split())
    assert {choice.weight for choice in datasets.values()} == {1.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SMALLEST + "sistem_prompt: hello\n", "unknown key 'sistem_prompt'; did you mean 'system_prompt'?"),
        (SMALLEST.replace("gcd", "gdc"), "'gdc' is not known; did you mean 'gcd'?"),
        (SMALLEST.replace("max_value", "max_valu"), "no parameter 'max_valu'; did you mean 'max_value'?"),
        (SMALLEST.replace("max_value", "seed"), "no parameter 'seed'"),
        (SMALLEST.replace("24", "0"), "does not take the parameters {'max_value': 0}"),
        (SMALLEST.replace("24", "many"), "does not take the parameters {'max_value': 'many'}"),
        (SMALLEST.replace("params: {max_value: 24}", "weight: 0"), "the weight of 'gcd' must be a number above 0"),
        (SMALLEST.replace("params: {max_value: 24}", "weight: .inf"), "the weight of 'gcd' must be a number above 0"),
        (SMALLEST.replace("params: {max_value: 24}", "weight: true"), "the weight of 'gcd' must be a number above 0"),
        (SMALLEST.replace("gcd", "countdown"), f"can't be used in a swarm: {LEFT_OUT['countdown']}"),
        (SMALLEST.replace("20", "0"), "max_completion_length must be a whole number of tokens above 0, not 0"),
        (SMALLEST + "partial_credit: 0.5\n", "partial_credit must be true or false"),
        (SMALLEST + "answer_tag: '</'\n", "answer_tag must be a plain word"),
        (SMALLEST + "system_prompt: 7\n", "system_prompt must be text"),
        (SMALLEST + "examples: [{user: hello}]\n", "needs both a 'user' and an 'assistant' text"),
        ("max_completion_length: 20\ndatasets: {}\n", "datasets must name at least one dataset"),
        ("datasets: {gcd: }\n", "the key 'max_completion_length' is missing"),
        ("- gcd\n", "the file must be a mapping"),
        ("datasets: {gcd\n", "is not valid yaml"),
    ],
)
def test_what_is_not_possible_is_refused_with_a_sentence_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint_about(tmp_path, text)


def test_yaml_that_wants_to_make_python_objects_is_refused(tmp_path: Path) -> None:
    proof = tmp_path / "made"
    said = complaint_about(tmp_path, f"datasets: !!python/object/apply:os.mkdir ['{proof}']\n")
    assert "is not valid yaml" in said
    assert not proof.exists()


def test_an_unknown_name_is_answered_with_the_nearest_shipped_one() -> None:
    with pytest.raises(TasksError, match="did you mean 'starter'"):
        find_tasks_file("startr")


def test_a_missing_path_is_named() -> None:
    with pytest.raises(TasksError, match="no tasks file at nowhere/mine.yaml"):
        find_tasks_file("nowhere/mine.yaml")


def test_the_digest_follows_the_values_and_not_the_wording_of_the_file(tmp_path: Path) -> None:
    plain = tasks_digest(tasks_of(tmp_path, SMALLEST))
    reworded = "# a comment\ndatasets:\n  gcd: {params: {max_value: 24}, weight: 1}\nmax_completion_length: 20\n"
    assert tasks_digest(tasks_of(tmp_path, reworded)) == plain
    assert tasks_digest(tasks_of(tmp_path, SMALLEST.replace("24", "25"))) != plain
    assert tasks_digest(tasks_of(tmp_path, SMALLEST + "partial_credit: true\n")) != plain
    assert len(plain) == 64

"""The tasks file: which datasets, how often, how a problem is put to the model and how its answer is scored.

Example (``config/tasks/starter.yaml`` is a whole one)::

    system_prompt: Reply with the result only, inside <answer> tags.
    examples:
      - user: What is 3 + 5?
        assistant: <answer>8</answer>
    max_completion_length: 20
    datasets:
      gcd:
        weight: 2
        params: {max_value: 24}
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from rgym_exp.errors import TasksError
from rgym_exp.tasks.allowlist import ALLOWED, LEFT_OUT

SHIPPED_FOLDER = Path(__file__).resolve().parent.parent / "config" / "tasks"
"""Where the tasks files that come with the project are."""


@dataclass(frozen=True, kw_only=True)
class WorkedExample:
    """One question and its reply, shown to the model before the problem."""

    user: str
    assistant: str


@dataclass(frozen=True, kw_only=True)
class DatasetChoice:
    """One dataset of the mix."""

    weight: float = 1.0
    """How often it is drawn, relative to the others; above 0."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the dataset's own configuration in reasoning-gym."""


@dataclass(frozen=True, kw_only=True)
class TasksFile:
    """A tasks file, checked."""

    datasets: Mapping[str, DatasetChoice]
    """By reasoning-gym's dataset name."""
    max_completion_length: int
    """Tokens a completion may have."""
    system_prompt: str = ""
    examples: tuple[WorkedExample, ...] = ()
    answer_tag: str = "answer"
    """The answer is what stands between ``<tag>`` and ``</tag>``."""
    partial_credit: bool = False
    """Whether a wrong answer keeps the fraction that some scorers give it. Such fractions mostly measure form or
    length (0.05 for any text with a slash, more for a shorter ramble that contains the digit): within a group of
    wrong answers they are noise that the advantage blows up to full size. False: a reward is 0 or 1."""

    def canonical(self) -> dict[str, Any]:
        """The file as plain values, defaults filled in: what the tasks digest is taken of."""
        return asdict(self)


def find_tasks_file(name: Path | str) -> Path:
    """The path of a shipped tasks file by its name (``starter``), or of any tasks file by its path.

    Raises:
        TasksError: there is no such file.
    """
    path = Path(name)
    looks_like_a_path = len(path.parts) > 1 or path.suffix in (".yaml", ".yml")
    shipped = SHIPPED_FOLDER / f"{name}.yaml"
    if not looks_like_a_path and shipped.is_file():
        return shipped
    if path.is_file():
        return path
    if looks_like_a_path:
        raise TasksError(
            f"There is no tasks file at {path}. Give the path of a yaml file, or the name of a shipped one."
        )
    names = sorted(file.stem for file in SHIPPED_FOLDER.glob("*.yaml"))
    raise TasksError(
        f"No tasks file is called {str(name)!r}{did_you_mean(str(name), names)} Shipped are: {', '.join(names)}."
    )


def load_tasks_file(path: Path) -> TasksFile:
    """Read and check a tasks file. The datasets' own parameters are checked when the datasets are made.

    Raises:
        TasksError: it can't be read, isn't yaml, or says something that isn't possible.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TasksError(f"The tasks file {path} can't be read: {error}") from error
    except yaml.YAMLError as error:
        raise TasksError(f"The tasks file {path} is not valid yaml: {error}") from error
    except RecursionError:
        raise TasksError(f"The tasks file {path} is none: its values lie thousands of levels deep.") from None
    try:
        return _parse(loaded)
    except TasksError as error:
        raise TasksError(f"In the tasks file {path}: {error}") from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'gcd'?"`` when a known name is near, else ``"."``."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else "."


def _parse(loaded: Any) -> TasksFile:
    known = {entry.name for entry in fields(TasksFile)}
    values = _mapping(loaded, "the file", known)
    for needed in ("datasets", "max_completion_length"):
        if needed not in values:
            raise TasksError(f"the key {needed!r} is missing.")
    length = values["max_completion_length"]
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise TasksError(f"max_completion_length must be a whole number of tokens above 0, not {length!r}.")
    tag = _text(values.get("answer_tag", "answer"), "answer_tag")
    if not tag.isidentifier():
        raise TasksError(f"answer_tag must be a plain word such as 'answer', not {tag!r}.")
    partial_credit = values.get("partial_credit", False)
    if not isinstance(partial_credit, bool):
        raise TasksError(f"partial_credit must be true or false, not {partial_credit!r}.")
    examples = values.get("examples") or []
    if not isinstance(examples, list):
        raise TasksError("examples must be a list of user and assistant texts.")
    return TasksFile(
        system_prompt=_text(values.get("system_prompt", ""), "system_prompt"),
        examples=tuple(_example(example) for example in examples),
        max_completion_length=length,
        answer_tag=tag,
        partial_credit=partial_credit,
        datasets=_datasets(values["datasets"]),
    )


def _example(loaded: Any) -> WorkedExample:
    values = _mapping(loaded, "a worked example", {"user", "assistant"})
    if len(values) != 2:
        raise TasksError("a worked example needs both a 'user' and an 'assistant' text.")
    return WorkedExample(
        user=_text(values["user"], "an example's user"), assistant=_text(values["assistant"], "an example's assistant")
    )


def _datasets(loaded: Any) -> dict[str, DatasetChoice]:
    if not isinstance(loaded, dict) or not loaded:
        raise TasksError("datasets must name at least one dataset.")
    return {name: _choice(str(name), choice) for name, choice in loaded.items()}


def _choice(name: str, loaded: Any) -> DatasetChoice:
    if name in LEFT_OUT:
        raise TasksError(f"the dataset {name!r} can't be used in a swarm: {LEFT_OUT[name]}.")
    if name not in ALLOWED:
        raise TasksError(f"reasoning-gym's dataset {name!r} is not known{did_you_mean(name, ALLOWED)}")
    values = _mapping(loaded if loaded is not None else {}, f"the dataset {name!r}", {"weight", "params"})
    weight = values.get("weight", 1.0)
    if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 < weight < math.inf:
        raise TasksError(f"the weight of {name!r} must be a number above 0, not {weight!r}.")
    params = values.get("params") or {}
    if not isinstance(params, dict):
        raise TasksError(f"the params of {name!r} must be a mapping of names to values.")
    return DatasetChoice(weight=float(weight), params=params)


def _mapping(loaded: Any, what: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(loaded, dict):
        raise TasksError(f"{what} must be a mapping of keys to values.")
    for key in loaded:
        if key not in known:
            raise TasksError(f"{what} has an unknown key {key!r}{did_you_mean(str(key), known)}")
    return loaded


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TasksError(f"{what} must be text, not {value!r}; put it in quotes.")
    return value

"""Where a node's problems come from and how their answers are scored: the seam and its two kinds."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rgym_exp.tasks.answers import extract_answer
from rgym_exp.tasks.datasets import SEED, Datasets, reasoning_gym_version
from rgym_exp.tasks.drawing import (
    DRAWING_VERSION,
    INDEX_RANGE,
    Item,
    draw_judged_item,
    draw_training_item,
    held_out_items,
)
from rgym_exp.tasks.file import TasksFile, WorkedExample, find_tasks_file, load_tasks_file
from rgym_exp.tasks.scoring_sandbox import SandboxLimits, ScoringSandbox
from rgym_exp.types import Problem

HELD_OUT_SLOT = -1
"""The slot of a held-out problem."""
FULL_SCORE = 0.99
"""From here on an answer counts as right where there is no partial credit."""


class TaskSource(Protocol):
    """Problems, the same for every peer, and their scores."""

    digest: str
    """Hex digest of all that decides which problems there are and how they are scored. Peers whose digests differ
    can't rebuild each other's problems."""
    max_completion_length: int
    """Tokens."""

    def problem(self, *, swarm_id: str, round: int, peer_id: str, slot: int) -> Problem:
        """The problem that a peer has in a slot of a round; any peer can ask for any other's.

        Raises:
            TasksError: the mix has hardly any questions to train on.
        """
        ...

    def held_out(self, count: int) -> list[Problem]:
        """Problems that ``problem`` never returns, by their question; fewer than ``count`` when there are no more."""
        ...

    def messages(self, problem: Problem) -> list[dict[str, str]]:
        """The chat that puts the problem to the model: ``[{"role": ..., "content": ...}, ...]``."""
        ...

    def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
        """The reward of each completion, in [0, 1], whatever the completion is. One call for many is cheaper.

        Raises:
            SandboxError: nothing can be scored at all.
        """
        ...

    def close(self) -> None:
        """End what scoring has started; harmless when done twice."""
        ...


class ReasoningGymTasks:
    """Problems from reasoning-gym, as a tasks file mixes them, scored in a sandbox."""

    def __init__(self, tasks_file: Path | str, *, limits: SandboxLimits | None = None) -> None:
        """Read the tasks file, make its datasets and start the scoring worker in the background (1 to 2 s).

        Args:
            tasks_file: a path, or the name of a shipped tasks file such as ``starter``.
            limits: what scoring may cost.

        Raises:
            TasksError: the tasks file can't be used.
        """
        self._tasks = load_tasks_file(find_tasks_file(tasks_file))
        self.digest = tasks_digest(self._tasks)
        self.max_completion_length = self._tasks.max_completion_length
        self._weights = {name: choice.weight for name, choice in self._tasks.datasets.items()}
        self._datasets = Datasets(self._tasks)
        params = {name: choice.params for name, choice in self._tasks.datasets.items()}
        self._sandbox = ScoringSandbox(params, seed=SEED, size=INDEX_RANGE, limits=limits)

    def problem(self, *, swarm_id: str, round: int, peer_id: str, slot: int) -> Problem:
        """See ``TaskSource.problem``."""
        dataset, item = draw_training_item(
            self._weights, self._datasets.item, swarm_id=swarm_id, round=round, peer_id=peer_id, slot=slot
        )
        return problem_of(slot, dataset, item)

    def held_out(self, count: int) -> list[Problem]:
        """See ``TaskSource.held_out``. Datasets take turns by weight; a longer list begins with the shorter one."""
        items = itertools.islice(held_out_items(self._weights, self._datasets.item), count)
        return [problem_of(HELD_OUT_SLOT, dataset, item) for dataset, item in items]

    def judged(self, number: int) -> Problem:
        """The problem of a judge's question: one that ``problem`` never returns, the same for the same number.

        Raises:
            TasksError: the mix has hardly any questions that are held out.
        """
        return problem_of(HELD_OUT_SLOT, *draw_judged_item(self._weights, self._datasets.item, number=number))

    def messages(self, problem: Problem) -> list[dict[str, str]]:
        """See ``TaskSource.messages``."""
        return chat_of(self._tasks.system_prompt, self._tasks.examples, problem.question)

    def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
        """See ``TaskSource.score``. A completion without answer tags gets 0."""
        rewards = [0.0] * len(answers)
        found = [
            (position, problem, answer)
            for position, (problem, text) in enumerate(answers)
            if (answer := extract_answer(text, self._tasks.answer_tag)) is not None
        ]
        scores = self._sandbox.score([(problem, answer) for _, problem, answer in found])
        for (position, _, _), score in zip(found, scores, strict=True):
            rewards[position] = score if self._tasks.partial_credit else float(score >= FULL_SCORE)
        return rewards

    def close(self) -> None:
        """See ``TaskSource.close``."""
        self._sandbox.close()


def tasks_digest(tasks: TasksFile) -> str:
    """Digest of the tasks file's meaning, reasoning-gym's version and the way of drawing, 64 hex digits.

    Comments and the order of keys don't matter; every value does.
    """
    return digest_of({"tasks": tasks.canonical(), "reasoning_gym": reasoning_gym_version()})


def digest_of(content: Mapping[str, Any]) -> str:
    canonical = json.dumps({"drawing": DRAWING_VERSION, **content}, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def problem_of(slot: int, dataset: str, item: Item) -> Problem:
    return Problem(slot=slot, dataset=dataset, question=item["question"], entry=item)


def chat_of(system_prompt: str, examples: Sequence[WorkedExample], question: str) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": system_prompt}] if system_prompt else []
    for example in examples:
        messages.append({"role": "user", "content": example.user})
        messages.append({"role": "assistant", "content": example.assistant})
    return [*messages, {"role": "user", "content": question}]

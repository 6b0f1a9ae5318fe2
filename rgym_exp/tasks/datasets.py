"""reasoning-gym's dataset objects, as a tasks file wants them: they make problems, and never see an answer.

Importing reasoning-gym takes about a second, so it is imported when the first dataset is made.
"""

from __future__ import annotations

import decimal
import importlib.metadata
import logging
import sys
import threading
from dataclasses import fields
from typing import Any

from rgym_exp.errors import TasksError
from rgym_exp.tasks.allowlist import PROVEN_VERSION
from rgym_exp.tasks.drawing import INDEX_RANGE, Item
from rgym_exp.tasks.file import TasksFile, did_you_mean

SEED = 0
"""Of every dataset: which items are drawn is decided by their index alone."""

log = logging.getLogger("rl_swarm.tasks")


def reasoning_gym_version() -> str:
    """The installed version, on which every problem depends."""
    return importlib.metadata.version("reasoning-gym")


class Datasets:
    """The datasets of one tasks file, made once. Thread-safe."""

    def __init__(self, tasks: TasksFile) -> None:
        """Make every dataset.

        Raises:
            TasksError: a dataset does not take its parameters.
        """
        if reasoning_gym_version() != PROVEN_VERSION:
            log.warning(
                "reasoning-gym %s is installed, but its scorers were read in version %s. Peers with another version "
                "draw other problems and leave each other's shares alone. Install reasoning-gym==%s.",
                reasoning_gym_version(),
                PROVEN_VERSION,
                PROVEN_VERSION,
            )
        self._lock = threading.Lock()
        self._datasets = {name: _make(name, dict(choice.params)) for name, choice in tasks.datasets.items()}

    def item(self, dataset: str, index: int) -> Item:
        """reasoning-gym's item: question, answer and metadata."""
        # decimal_arithmetic sets the precision of the thread's decimal context and computes in it: give it a context
        # of its own, so that its answers don't depend on this process and this process doesn't on it.
        with self._lock, decimal.localcontext(decimal.Context(prec=28)):
            item: Item = self._datasets[dataset][index]
            return item


def _make(name: str, params: dict[str, Any]) -> Any:
    import reasoning_gym.factory as factory

    known = {entry.name for entry in fields(factory.DATASETS[name][1])} - {"seed", "size"}
    for param in params:
        if param not in known:
            raise TasksError(f"The dataset {name!r} has no parameter {param!r}{did_you_mean(param, known)}")
    _silence()
    try:
        return factory.create_dataset(name, seed=SEED, size=INDEX_RANGE, **params)
    except (AssertionError, ValueError, TypeError, OSError) as error:
        raise TasksError(f"The dataset {name!r} does not take the parameters {params}: {error}") from error


def _silence() -> None:
    """Some of reasoning-gym's generators print while they work (a dot per brainf*ck program): not into our terminal."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "reasoning_gym":
            vars(module).setdefault("print", lambda *_arguments, **_keywords: None)

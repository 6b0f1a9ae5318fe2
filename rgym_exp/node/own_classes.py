"""The border to classes of somebody's own, which the configuration names by ``_target_``.

What such a class does wrong is told with its name, as a mistake in that class: an exception that its seam doesn't know,
a result that its seam doesn't allow. (Judges and trackers are called where any exception is one of theirs already.)
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar, cast

from rgym_exp.chain.coordinator import Coordinator
from rgym_exp.errors import SwarmUserError
from rgym_exp.judge.judge import Judge
from rgym_exp.swarm.exchange import Exchange
from rgym_exp.tasks.source import TaskSource
from rgym_exp.types import Problem, ReceivedShare

logger = logging.getLogger("rl_swarm.node")
# Not one of our loggers: tracebacks go to the file only.
_tracebacks = logging.getLogger("own_classes")

_Seam = TypeVar("_Seam")
Check = Callable[[Any, Any], str | None]
"""(the first argument of the call, its result) -> what is wrong with the result; None when nothing is."""


class OwnClassError(SwarmUserError):
    """A class that the configuration names by ``_target_`` failed, or gave what its seam doesn't allow."""


def guarded_tasks(made: TaskSource, target: str) -> TaskSource:
    """A task source of somebody's own, whose every result is looked at.

    Raises:
        OwnClassError: it lacks what a task source has. So do all its methods, when they go wrong.
    """
    return _guarded(made, TaskSource, "tasks", target, _TASKS)


def guarded_coordinator(made: Coordinator, target: str) -> Coordinator:
    """Likewise, a coordinator."""
    return _guarded(made, Coordinator, "blockchain.coordinator", target, _COORDINATOR)


def guarded_exchange(made: Exchange, target: str) -> Exchange:
    """Likewise, an exchange and its gatherings."""
    return _guarded(made, Exchange, "communications.exchange", target, _EXCHANGE)


def close_judge(judge: Judge) -> None:
    """Close a judge. What its own class does wrong at the end is worth a line, and keeps nothing else open."""
    try:
        judge.close()
    except Exception as error:  # Somebody else's code, which may raise anything.
        logger.warning(
            "The judge (%s) failed at the end with %s: %s.", type(judge).__name__, type(error).__name__, error
        )


def _guarded(made: _Seam, seam: type, key: str, target: str, checks: Mapping[str, Check]) -> _Seam:
    names = [*seam.__annotations__, *(name for name in vars(seam) if not name.startswith("_"))]
    missing = [name for name in names if not hasattr(made, name)]
    if missing:
        raise OwnClassError(f"{key}: {target} lacks {', '.join(missing)}, which a {seam.__name__} has.")
    guard = _Guard(made, key, target, checks)
    for name in seam.__annotations__:
        guard.look_at(name, None, getattr(made, name))
    return cast(_Seam, guard)


class _Guard:
    """Stands for an object: hands every call on, and looks at what comes back."""

    def __init__(self, made: Any, key: str, target: str, checks: Mapping[str, Check]) -> None:
        self._made, self._key, self._target, self._checks = made, key, target, checks

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._made, name)
        return self._call(name, value) if callable(value) else value

    def look_at(self, name: str, given: Any, result: Any) -> None:
        """Raises OwnClassError where the result is none that the seam allows."""
        if name in self._checks and (wrong := self._checks[name](given, result)) is not None:
            raise OwnClassError(f"{self._key}: {self._target} has a mistake: {name} {wrong}.")

    def _call(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*arguments: Any, **options: Any) -> Any:
            try:
                result = method(*arguments, **options)
            except SwarmUserError:
                raise
            except Exception as error:  # Somebody else's code, which may raise anything.
                raise self._failed(name, error) from error
            self.look_at(name, arguments[0] if arguments else None, result)
            if name == "start_gathering":
                return _Guard(result, self._key, self._target, _GATHERING)
            # NumPy's numbers, say, which reports could not be written with.
            return [float(score) for score in result] if name == "score" else result

        return call

    def _failed(self, name: str, error: Exception) -> OwnClassError:
        _tracebacks.error("%s failed in %s", self._target, name, exc_info=error)
        place = traceback.extract_tb(error.__traceback__)[-1]
        return OwnClassError(
            f"{self._key}: {self._target} has a mistake: {name} failed with {type(error).__name__}: {error} (line"
            f" {place.lineno} of {Path(place.filename).name}). The log has the traceback."
        )


def _list_of(kind: type) -> Check:
    def check(given: Any, result: Any) -> str | None:
        if isinstance(result, Sequence) and not isinstance(result, str):
            wrong = [item for item in result if not isinstance(item, kind)]
            return f"gave {_short(wrong[0])} among what should be {kind.__name__}s" if wrong else None
        return f"gave {_short(result)} instead of a list"

    return check


def _a(kind: type) -> Check:
    return lambda given, result: (
        None if isinstance(result, kind) else f"gave {_short(result)}, which is no {kind.__name__}"
    )


def _at_least(least: int) -> Check:
    def check(given: Any, result: Any) -> str | None:
        fine = isinstance(result, int) and not isinstance(result, bool) and result >= least
        return None if fine else f"is {_short(result)}, not a whole number from {least}"

    return check


def _scores(answers: Sequence[Any], result: Any) -> str | None:
    if not hasattr(result, "__len__") or not hasattr(result, "__iter__"):
        return f"gave {_short(result)} instead of a list of scores"
    if len(result) != len(answers):
        return f"gave {len(result)} scores for {len(answers)} answers; each answer needs one"
    for score in result:
        if not isinstance(score, Real) or not 0 <= float(score) <= 1 or math.isnan(float(score)):
            return f"gave {_short(score)} for an answer; a score is a number from 0 to 1"
    return None


def _chat(problem: Any, result: Any) -> str | None:
    fine = (
        isinstance(result, Sequence)
        and result
        and all(
            isinstance(turn, Mapping) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
            for turn in result
        )
    )
    return None if fine else f"gave {_short(result)}, which is no list of role and content"


def _round_and_stage(given: Any, result: Any) -> str | None:
    fine = (
        isinstance(result, Sequence)
        and len(result) == 2
        and all(isinstance(part, int) and part >= 0 for part in result)
    )
    return None if fine else f"gave {_short(result)}, which is no round and stage"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


_TASKS: Mapping[str, Check] = {
    "digest": _a(str),
    "max_completion_length": _at_least(1),
    "problem": _a(Problem),
    "held_out": _list_of(Problem),
    "messages": _chat,
    "score": _scores,
}
_COORDINATOR: Mapping[str, Check] = {
    "account": _a(str),
    "round_and_stage": _round_and_stage,
    "bootnodes": _list_of(str),
    "pending": _at_least(0),
}
_EXCHANGE: Mapping[str, Check] = {
    "peer_id": _a(str),
    "peers": _list_of(str),
    "dropped": _a(Mapping),
    "ways": _a(Mapping),
}
_GATHERING: Mapping[str, Check] = {"close": _list_of(ReceivedShare)}

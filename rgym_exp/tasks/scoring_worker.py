"""The scoring worker: the process in which strangers' answers meet reasoning-gym's scorers.

Run as a script by ``scoring_sandbox.py``, under ``python -I`` with an empty environment; it imports nothing of this
project. It speaks JSON lines:

- in, once: ``{"datasets": {name: params}, "seed", "size", "memory_bytes", "answer_cpu_seconds", "strikes"}``
- out, once: ``{"ready": true, "not_limited": [...]}``, or ``{"failed": "why"}`` and the end
- in, per batch: ``{"entries": [[dataset, entry], ...], "answers": [[entry number, text], ...], "cpu_seconds"}``
- out, per answer, in order: ``[score, why]``; ``why`` is "" or the reason why the answer counts 0

Before the first answer it closes itself in, one layer behind the other: ``eval`` is a parser of literals in every
module of reasoning-gym; an audit hook ends any attempt to run code, open a file, import, connect or start a process;
the kernel refuses new file descriptors, files and processes, and bounds memory and time.
"""

from __future__ import annotations

import ast
import importlib
import json
import math
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from types import FrameType, ModuleType
from typing import Any, BinaryIO

LONGEST_LITERAL = 16_384
"""Characters that the literal parser takes."""

_REFUSED_EVENTS = frozenset({"exec", "open", "import", "function.__new__", "marshal.loads", "pickle.find_class"})
_REFUSED_FAMILIES = ("os.", "socket.", "subprocess.", "ctypes.", "shutil.", "tempfile.", "glob.", "pty.", "urllib.")


class TimeUp(BaseException):
    """An answer has used up its processor time. Not an Exception, so that fewer scorers swallow it."""


class CodeRefused(RuntimeError):
    """Something in this process tried what no scorer has to do."""


class Stopwatch:
    """Raises ``TimeUp`` in the running code after so much processor time, and again until somebody lets it through."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running = False
        signal.signal(signal.SIGPROF, self._ring)

    def start(self) -> None:
        self._running = True
        # The repetition is for scorers with a bare ``except:``.
        signal.setitimer(signal.ITIMER_PROF, self._seconds, self._seconds / 10)

    def stop(self) -> None:
        self._running = False
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        if self._running:
            raise TimeUp


def main() -> int:
    """Set up, then score batches until the pipe is closed."""
    inbox, outbox = _claim_pipes()
    try:
        setup = json.loads(inbox.readline())
        datasets = _make_datasets(setup)
        replace_evaluation()
        not_limited = _confine(int(setup["memory_bytes"]))
        stopwatch = Stopwatch(float(setup["answer_cpu_seconds"]))
        sys.addaudithook(_refuse)
    except Exception as error:
        _send(outbox, {"failed": f"{type(error).__name__}: {error}"})
        return 1
    _send(outbox, {"ready": True, "not_limited": not_limited})
    for line in inbox:
        _score_batch(json.loads(line), datasets, stopwatch, int(setup["strikes"]), outbox)
    return 0


def literal(source: Any, *_scopes: Any) -> Any:
    """What ``eval`` is here: numbers, strings, lists and their like; never a name, a call or an operator."""
    if not isinstance(source, str) or len(source) > LONGEST_LITERAL:
        raise CodeRefused("only a short text can be read as a literal")
    return ast.literal_eval(source)


def refuse_to_run(*_arguments: Any, **_keywords: Any) -> Any:
    """What every other way of running code is here."""
    raise CodeRefused("the scoring worker runs no code")


def replace_evaluation() -> None:
    """Shadow ``eval``, ``exec``, ``compile`` and sympy's parser, which evaluates, wherever scorers could find them."""
    parser = sys.modules.get("sympy.parsing.sympy_parser")
    evaluating = [getattr(parser, name) for name in ("parse_expr", "eval_expr", "stringify_expr") if parser]
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "reasoning_gym":
            vars(module).update(eval=literal, exec=refuse_to_run, compile=refuse_to_run)
        if name.split(".")[0] in ("reasoning_gym", "sympy"):
            for attribute, value in list(vars(module).items()):
                if any(value is one for one in evaluating):
                    setattr(module, attribute, refuse_to_run)


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes to ourselves: what any library prints goes nowhere."""
    outbox = os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return sys.stdin.buffer, outbox


def _make_datasets(setup: Mapping[str, Any]) -> dict[str, Any]:
    # reasoning-gym draws two datasets' problems with cellpylib, which imports the whole of matplotlib. Nothing is drawn
    # here: without it the start takes half the time and needs no home to look for fonts in.
    sys.modules["cellpylib"] = ModuleType("cellpylib")
    # Imported lazily by time parsing, and nothing can be imported later.
    importlib.import_module("_strptime")

    from reasoning_gym.factory import create_dataset

    return {
        name: create_dataset(name, seed=setup["seed"], size=setup["size"], **params)
        for name, params in setup["datasets"].items()
    }


def _confine(memory_bytes: int) -> list[str]:
    """Ask the kernel for limits; returns the names of those that this system does not have."""
    next_descriptor = os.dup(0)
    os.close(next_descriptor)
    wanted: list[tuple[str, Callable[[], int]]] = [
        ("RLIMIT_CORE", lambda: 0),
        ("RLIMIT_FSIZE", lambda: 0),
        ("RLIMIT_NPROC", lambda: 0),
        # No descriptor is free below this one: no file, no socket, no pipe can be opened any more.
        ("RLIMIT_NOFILE", lambda: next_descriptor),
        ("RLIMIT_AS", lambda: address_space + memory_bytes),
    ]
    not_limited = []
    try:
        with open("/proc/self/statm") as statm:
            address_space = int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        # Without /proc (macOS) the size so far is unknown, and the limit is not enforced there anyway.
        wanted.pop()
        not_limited.append("RLIMIT_AS")
    for name, limit in wanted:
        try:
            resource.setrlimit(getattr(resource, name), (limit(), limit()))
        except (AttributeError, ValueError, OSError):
            not_limited.append(name)
    return not_limited


def _refuse(event: str, _arguments: tuple[Any, ...]) -> None:
    if event in _REFUSED_EVENTS or event.startswith(_REFUSED_FAMILIES):
        raise CodeRefused(f"the scoring worker does not {event}")


def _score_batch(
    batch: Mapping[str, Any], datasets: Mapping[str, Any], stopwatch: Stopwatch, strikes: int, outbox: BinaryIO
) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    # The last line against code that keeps the interpreter from ever seeing the stopwatch's signal.
    allowed = math.ceil(used.ru_utime + used.ru_stime + float(batch["cpu_seconds"])) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    late: Counter[int] = Counter()
    for number, answer in batch["answers"]:
        if late[number] >= strikes:
            _send(outbox, [0.0, "after others of its problem"])
            continue
        dataset, entry = batch["entries"][number]
        score, why = score_one(datasets[dataset], answer, entry, stopwatch)
        if why == "time":
            late[number] += 1
        _send(outbox, [score, why])


def score_one(dataset: Any, answer: str, entry: dict[str, Any], stopwatch: Stopwatch) -> tuple[float, str]:
    """A score in [0, 1] and "", or 0 and the reason."""
    try:
        try:
            stopwatch.start()
            score = float(dataset.score_answer(answer, entry))
        finally:
            stopwatch.stop()
    except TimeUp:
        stopwatch.stop()
        return 0.0, "time"
    except MemoryError:
        return 0.0, "memory"
    except (Exception, SystemExit) as error:
        return 0.0, type(error).__name__
    if not math.isfinite(score):
        return 0.0, "not a number"
    return min(1.0, max(0.0, score)), ""


def _send(outbox: BinaryIO, message: Any) -> None:
    outbox.write(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())

"""The scoring sandbox: scores answers in a confined worker process, and survives whatever they do to it.

Every answer gets a number. One that makes its scorer raise, think for too long, eat memory or crash gets 0 and is
counted; the others of the batch are scored all the same.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rgym_exp.errors import SandboxError
from rgym_exp.tasks.worker_process import WorkerLost, WorkerProcess
from rgym_exp.types import Problem

log = logging.getLogger("rl_swarm.tasks")

_STARTS = 3
"""How often in a row the worker may fail to start before that is an error."""


@dataclass(frozen=True, kw_only=True)
class SandboxLimits:
    """What one answer and one batch may cost. A usual answer takes well under a millisecond."""

    answer_chars: int = 8192
    """Longer answers score 0 unread."""
    answer_cpu_seconds: float = 0.5
    """Processor time, so that a busy machine doesn't turn good answers into bad ones."""
    answer_wall_seconds: float = 10.0
    """Without a reply for so long, the worker counts as hung and is replaced."""
    batch_seconds: float = 60.0
    """Wall-clock time of one ``score`` call; what isn't scored by then scores 0."""
    strikes: int = 2
    """After so many answers of a problem that took too long, the problem's other answers score 0 untried. A problem
    belongs to one peer, so that a peer who sends such answers takes time from nobody for long."""
    memory_bytes: int = 512 * 1024 * 1024
    """What the worker may take on top of what it needs to stand ready."""
    start_seconds: float = 120.0


@dataclass(kw_only=True)
class _Batch:
    """The answers of one ``score`` call on their way."""

    answers: Sequence[tuple[Problem, str]]
    waiting: deque[int]
    """Positions in ``answers`` without a score yet, in order."""
    scores: list[float]
    deadline: float
    failures: Counter[str] = field(default_factory=Counter)
    late: Counter[int] = field(default_factory=Counter)
    """By id() of the problem: answers that took too long."""
    tried_again: set[int] = field(default_factory=set)

    def take(self, score: float, why: str) -> None:
        """Settle the first waiting answer."""
        position = self.waiting.popleft()
        self.scores[position] = score
        if why:
            self.failures[why] += 1
        if why == "time":
            self.late[id(self.answers[position][0])] += 1

    def drop_struck(self, strikes: int) -> None:
        """Settle the answers of problems that have had their share of time, untried."""
        struck = [position for position in self.waiting if self.late[id(self.answers[position][0])] >= strikes]
        self.failures["after others of its problem"] += len(struck)
        for position in struck:
            self.waiting.remove(position)

    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()


class ScoringSandbox:
    """Scores answers in one worker process, which is started at construction and reused. Thread-safe."""

    def __init__(
        self, datasets: Mapping[str, Mapping[str, Any]], *, seed: int, size: int, limits: SandboxLimits | None = None
    ) -> None:
        """Start the worker in the background; it takes about a second to be ready.

        Args:
            datasets: the parameters of every dataset that may come, by name.
            seed: the datasets' seed.
            size: the datasets' size.
            limits: what answers may cost.
        """
        self._limits = limits or SandboxLimits()
        self._known = frozenset(datasets)
        self._setup = {
            "datasets": {name: dict(params) for name, params in datasets.items()},
            "seed": seed,
            "size": size,
            "memory_bytes": self._limits.memory_bytes,
            "answer_cpu_seconds": self._limits.answer_cpu_seconds,
            "strikes": self._limits.strikes,
        }
        self._lock = threading.Lock()
        self._told_limits = False
        self._closed = False
        self._worker = WorkerProcess(self._setup)

    @property
    def worker_pid(self) -> int:
        """Process id of the present worker."""
        return self._worker.pid

    def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
        """The raw score of every answer, in [0, 1], in the order given.

        Raises:
            SandboxError: the worker can't be started.
            ValueError: a problem is of a dataset that this sandbox was not made for.
        """
        for problem, _ in answers:
            if problem.dataset not in self._known:
                raise ValueError(f"This sandbox was not made for the dataset {problem.dataset!r}.")
        with self._lock:
            self._ready_worker()
            batch = _Batch(
                answers=answers,
                waiting=deque(i for i, (_, text) in enumerate(answers) if len(text) <= self._limits.answer_chars),
                scores=[0.0] * len(answers),
                deadline=time.monotonic() + self._limits.batch_seconds,
            )
            batch.failures["too long"] = len(answers) - len(batch.waiting)
            while batch.waiting and batch.seconds_left() > 0:
                self._score_waiting(batch)
            batch.failures["batch time"] = len(batch.waiting)
            if batch.failures["memory"]:
                # What is left of the memory after such an answer may be in pieces too small for good ones.
                self._replace_worker()
        failures = +batch.failures
        if failures:
            told = ", ".join(f"{why} {count}" for why, count in failures.most_common())
            log.info("%d of %d answers scored 0 without a verdict: %s", failures.total(), len(answers), told)
        return batch.scores

    def close(self) -> None:
        """End the worker. The sandbox can't be used afterwards."""
        with self._lock:
            self._closed = True
            self._worker.kill()

    def _score_waiting(self, batch: _Batch) -> None:
        """Send all waiting answers and take replies until all are settled or the worker is lost."""
        worker = self._ready_worker()
        batch.drop_struck(self._limits.strikes)
        if not batch.waiting:
            return
        worker.send(self._message(batch))
        try:
            while batch.waiting:
                score, why = worker.receive(min(self._limits.answer_wall_seconds, max(0.0, batch.seconds_left())))
                batch.take(float(score), str(why))
        except WorkerLost as lost:
            first = batch.waiting[0]
            log.warning("The scoring worker was replaced: %s.", lost)
            self._replace_worker()
            if batch.seconds_left() <= 0:
                return
            if lost.hung:
                batch.take(0.0, "time")
            elif first in batch.tried_again:
                batch.take(0.0, "crash")
            else:
                # A crash need not be the answer's doing (somebody may have killed the worker): once more.
                batch.tried_again.add(first)

    def _message(self, batch: _Batch) -> dict[str, Any]:
        """The waiting answers, each problem's entry once."""
        numbers: dict[int, int] = {}
        entries: list[tuple[str, Mapping[str, Any]]] = []
        answers = []
        for position in batch.waiting:
            problem, text = batch.answers[position]
            if id(problem) not in numbers:
                numbers[id(problem)] = len(entries)
                entries.append((problem.dataset, dict(problem.entry)))
            answers.append((numbers[id(problem)], text))
        return {"entries": entries, "answers": answers, "cpu_seconds": max(1.0, batch.seconds_left())}

    def _ready_worker(self) -> WorkerProcess:
        if self._closed:
            raise SandboxError("The scoring worker has been closed; make a new task source.")
        for attempt in range(_STARTS):
            try:
                if not self._worker.alive:
                    raise WorkerLost("the process had ended", hung=False)
                not_limited = self._worker.wait_until_ready(self._limits.start_seconds)
                if not_limited and not self._told_limits:
                    self._told_limits = True
                    log.warning("This system can't limit the scoring worker by %s.", ", ".join(not_limited))
                return self._worker
            except WorkerLost as lost:
                reason = lost
                if attempt + 1 < _STARTS:
                    self._replace_worker()
        raise SandboxError(
            f"The scoring worker doesn't start ({reason}), so that no answer can be scored. Check that reasoning-gym "
            "is installed in this Python and that there is free memory."
        )

    def _replace_worker(self) -> None:
        self._worker.kill()
        self._worker = WorkerProcess(self._setup)

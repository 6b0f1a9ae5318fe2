"""The scoring sandbox: whatever an answer does, it gets a number, and the others get theirs."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reasoning_gym.factory import create_dataset

from rgym_exp.errors import SandboxError
from rgym_exp.tasks import scoring_worker, worker_process
from rgym_exp.tasks.scoring_sandbox import SandboxLimits, ScoringSandbox
from rgym_exp.tasks.worker_process import WorkerProcess
from rgym_exp.types import Problem

SIZE = 2**40
DATASETS = ["arc_1d", "binary_matrix", "decimal_arithmetic", "gcd", "propositional_logic", "spell_backward"]

SLOW = "∧".join(f"a{n}" for n in range(40))
"""A conclusion over 40 variables: propositional_logic's scorer would list all 2^40 assignments."""
GREEDY = "∧".join(f"a{n}" for n in range(18))
"""2^18 assignments of 18 variables: some 200 MB."""

MakeSandbox = Callable[..., ScoringSandbox]


@pytest.fixture
def make_sandbox() -> Iterator[MakeSandbox]:
    made: list[ScoringSandbox] = []

    def make(datasets: Mapping[str, Mapping[str, Any]] | None = None, **limits: Any) -> ScoringSandbox:
        params = datasets if datasets is not None else {name: {} for name in DATASETS}
        made.append(ScoringSandbox(params, seed=0, size=SIZE, limits=SandboxLimits(**limits)))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.close()


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[ScoringSandbox]:
    sandbox = ScoringSandbox(
        {name: {} for name in DATASETS}, seed=0, size=SIZE, limits=SandboxLimits(answer_cpu_seconds=0.1)
    )
    yield sandbox
    sandbox.close()


def problem(dataset: str = "gcd", index: int = 0) -> Problem:
    item = create_dataset(dataset, seed=0, size=SIZE)[index]
    return Problem(slot=index, dataset=dataset, question=item["question"], entry=item)


def right(asked: Problem) -> tuple[Problem, str]:
    return asked, asked.entry["answer"]


def test_right_is_one_wrong_is_less_and_the_order_is_kept(shared_sandbox: ScoringSandbox) -> None:
    first, second = problem(index=1), problem(index=2)
    assert shared_sandbox.score([right(first), (first, "no"), right(second), (second, "-1")]) == [1.0, 0.0, 1.0, 0.0]
    assert shared_sandbox.score([]) == []


def test_one_worker_serves_many_batches(shared_sandbox: ScoringSandbox) -> None:
    pid = shared_sandbox.worker_pid
    scores = [shared_sandbox.score([right(problem(index=n))]) for n in range(20)]
    assert scores == [[1.0]] * 20
    assert shared_sandbox.worker_pid == pid


def test_a_batch_larger_than_the_pipes_is_scored_whole(shared_sandbox: ScoringSandbox) -> None:
    asked = problem()
    padded = [(asked, "x" * 8000)] * 300
    assert shared_sandbox.score([*padded, right(asked)]) == [0.0] * 300 + [1.0]


def test_two_threads_may_score_at_once(shared_sandbox: ScoringSandbox) -> None:
    scores: dict[int, list[float]] = {}

    def score(number: int) -> None:
        asked = problem(index=number)
        scores[number] = shared_sandbox.score([right(asked), (asked, "no")] * 20)

    threads = [threading.Thread(target=score, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scores == {number: [1.0, 0.0] * 20 for number in range(4)}


def test_an_answer_that_thinks_too_long_scores_zero_and_the_worker_goes_on(
    make_sandbox: MakeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = make_sandbox(answer_cpu_seconds=0.2)
    pid = sandbox.worker_pid
    asked = problem()
    with caplog.at_level(logging.INFO, "rl_swarm.tasks"):
        assert sandbox.score([right(asked), (problem("propositional_logic"), SLOW), right(asked)]) == [1.0, 0.0, 1.0]
    assert sandbox.worker_pid == pid
    assert "1 of 3 answers scored 0 without a verdict: time 1" in caplog.text


def test_a_problem_with_two_such_answers_gets_no_more_time(
    make_sandbox: MakeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = make_sandbox(answer_cpu_seconds=0.2)
    hostile, asked = problem("propositional_logic"), problem()
    with caplog.at_level(logging.INFO, "rl_swarm.tasks"):
        assert sandbox.score([(hostile, SLOW)] * 30 + [right(asked)]) == [0.0] * 30 + [1.0]
    assert "after others of its problem 28, time 2" in caplog.text


def test_an_answer_that_eats_memory_scores_zero_and_the_worker_is_replaced(
    make_sandbox: MakeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = make_sandbox(answer_cpu_seconds=60.0, memory_bytes=32 * 1024 * 1024)
    pid = sandbox.worker_pid
    asked = problem()
    with caplog.at_level(logging.INFO, "rl_swarm.tasks"):
        assert sandbox.score([right(asked), (problem("propositional_logic"), GREEDY), right(asked)]) == [1.0, 0.0, 1.0]
    assert "memory 1" in caplog.text
    assert sandbox.worker_pid != pid
    assert sandbox.score([right(asked)]) == [1.0]


def test_an_answer_that_is_too_long_scores_zero_unread(
    make_sandbox: MakeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = make_sandbox(answer_chars=10)
    asked = problem()
    with caplog.at_level(logging.INFO, "rl_swarm.tasks"):
        assert sandbox.score([(asked, "1" * 11), right(asked)]) == [0.0, 1.0]
    assert "too long 1" in caplog.text


def test_a_worker_killed_between_batches_is_replaced_and_nothing_is_lost(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox()
    asked = problem()
    assert sandbox.score([right(asked)]) == [1.0]
    worker = psutil.Process(sandbox.worker_pid)
    worker.kill()
    assert sandbox.score([right(asked), (asked, "no"), right(asked)]) == [1.0, 0.0, 1.0]
    assert sandbox.worker_pid != worker.pid


def test_a_worker_killed_at_work_is_replaced_and_the_answer_it_was_at_is_tried_again(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox()
    asked = problem()
    assert sandbox.score([right(asked)]) == [1.0]
    os.kill(sandbox.worker_pid, signal.SIGSTOP)
    scores: list[float] = []
    scoring = threading.Thread(target=lambda: scores.extend(sandbox.score([right(asked)] * 3)))
    scoring.start()
    os.kill(sandbox.worker_pid, signal.SIGKILL)
    scoring.join()
    assert scores == [1.0, 1.0, 1.0]


def test_a_worker_that_stops_answering_is_replaced_and_only_the_answer_it_was_at_is_lost(
    make_sandbox: MakeSandbox,
) -> None:
    sandbox = make_sandbox(answer_wall_seconds=0.5)
    asked = problem()
    assert sandbox.score([right(asked)]) == [1.0]
    stopped = sandbox.worker_pid
    os.kill(stopped, signal.SIGSTOP)
    assert sandbox.score([right(asked)] * 3) == [0.0, 1.0, 1.0]
    assert not psutil.pid_exists(stopped)


def test_a_batch_ends_in_time_even_when_the_worker_does_not_answer(
    make_sandbox: MakeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = make_sandbox(batch_seconds=0.5)
    asked = problem()
    assert sandbox.score([right(asked)]) == [1.0]
    os.kill(sandbox.worker_pid, signal.SIGSTOP)
    with caplog.at_level(logging.INFO, "rl_swarm.tasks"):
        assert sandbox.score([right(asked)] * 3) == [0.0, 0.0, 0.0]
    assert "batch time 3" in caplog.text
    assert sandbox.score([right(asked)]) == [1.0]


def test_a_worker_that_cannot_start_is_an_error_and_not_a_zero(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox({"gcd": {"max_value": 0}})
    with pytest.raises(SandboxError, match="doesn't start .AssertionError: max_value must be > min_value."):
        sandbox.score([right(problem())])


def test_a_dataset_that_the_sandbox_was_not_made_for_is_an_error(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox({"gcd": {}})
    with pytest.raises(ValueError, match="not made for the dataset 'arc_1d'"):
        sandbox.score([right(problem("arc_1d"))])


def test_a_closed_sandbox_has_no_worker_and_says_so(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox()
    pid = sandbox.worker_pid
    sandbox.close()
    sandbox.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(SandboxError, match="has been closed"):
        sandbox.score([right(problem())])


def test_the_worker_sees_nothing_of_our_environment(make_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_TOKEN", "hidden")
    sandbox = make_sandbox({"gcd": {}})
    assert sandbox.score([right(problem())]) == [1.0]
    assert "A_SECRET_TOKEN" not in psutil.Process(sandbox.worker_pid).environ()


def test_the_worker_ends_when_its_node_dies(tmp_path: Path) -> None:
    script = """
        import sys
        from rgym_exp.tasks.scoring_sandbox import ScoringSandbox
        sandbox = ScoringSandbox({"gcd": {}}, seed=0, size=10)
        sandbox.score([])
        print(sandbox.worker_pid, flush=True)
        sys.stdin.read()
        """
    root = Path(__file__).resolve().parents[3]
    node = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert node.stdout
    worker = psutil.Process(int(node.stdout.readline()))
    node.kill()
    node.communicate()
    gone, _ = psutil.wait_procs([worker], timeout=20)
    assert gone == [worker]


HOSTILE = st.one_of(
    st.text(max_size=200),
    st.text(alphabet="0123456789.eE+-_ ,/\\{}$frac∞nai", max_size=60),
    st.text(alphabet="PQRS∧∨¬→↔() abc", max_size=60),
    st.builds(lambda piece, times: piece * times, st.sampled_from("([{-¬1'\"\\\n"), st.integers(1, 8000)),
    st.sampled_from(
        ["9" * 5000, "1e999999999", "nan", "-inf", "[" * 3000 + "]" * 3000, "1/0", "\ud800", "\x00", SLOW]
        + ["lambda: 1", "().__class__.__bases__[0].__subclasses__()", "open('x','w')", "__import__('os').getpid()"]
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(HOSTILE, min_size=1, max_size=8))
def test_no_text_raises_and_every_score_is_a_number_from_zero_to_one(
    shared_sandbox: ScoringSandbox, texts: list[str]
) -> None:
    scores = shared_sandbox.score([(asked, text) for asked in HOSTILE_TO for text in texts])
    assert len(scores) == len(texts) * len(HOSTILE_TO)
    assert all(isinstance(score, float) and math.isfinite(score) and 0.0 <= score <= 1.0 for score in scores)


HOSTILE_TO = [problem(dataset) for dataset in DATASETS]


@pytest.mark.parametrize(
    ("text", "value"), [("[[1, 0], [0, 1]]", [[1, 0], [0, 1]]), ("'a'", "a"), ("-3.5", -3.5), ("{1: None}", {1: None})]
)
def test_the_literal_parser_reads_literals(text: str, value: Any) -> None:
    assert scoring_worker.literal(text) == value


@pytest.mark.parametrize("text", ["f()", "x", "[1] * 9", "().__class__", "open", "2 ** 9", "[x for x in 'ab']", ""])
def test_the_literal_parser_refuses_everything_else(text: str) -> None:
    with pytest.raises((ValueError, SyntaxError)):
        scoring_worker.literal(text)


NUMBERS = {
    "half": "0.5",
    "many": "7.5",
    "less": "-3",
    "nan": "float('nan')",
    "endless": "float('inf')",
    "text": "'much'",
}
HANGS = {"sleep": "time.sleep(1000)"}
ATTEMPTS = {
    "evaluate": "eval('1 + 1')",
    "execute": "exec('x = 1')",
    "run code": "exec(code)",
    "make a function": "function(code, {})",
    "read a file": "open('/etc/passwd')",
    "write a file": "open('made', 'w')",
    "list a folder": "os.listdir('/')",
    "remove a file": "os.remove('made')",
    "fork": "os.fork()",
    "signal another": "os.kill(1, 0)",
    "start a process": "subprocess.run(['true'])",
    "make a socket": "socket.socket()",
    "connect": "socket.create_connection(('127.0.0.1', 9))",
    "look a name up": "socket.getaddrinfo('localhost', 80)",
    "import": "__import__('wave')",
    "load a library": "ctypes.CDLL(None)",
    "unpickle": "pickle.loads(b'cos\\ngetpid\\n(tR.')",
    "load code": "marshal.loads(stored)",
}
"""What the scorer of ``hostile_scorer`` returns or tries when an answer names it."""


@pytest.fixture
def hostile_scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real workers know one dataset more, by reasoning-gym's own way of adding one: its scorer does what answers say.

    The worker's own script runs unchanged, and as ever in a process of its own.
    """
    texts = NUMBERS | HANGS | ATTEMPTS
    script = f"""
        import ctypes, marshal, os, pickle, runpy, socket, subprocess, time
        from dataclasses import dataclass
        from reasoning_gym.factory import ProceduralDataset, register_dataset

        function = type(lambda: 0)
        code = compile("x = 1", "attempt", "exec")
        stored = marshal.dumps(code)
        attempts = {{name: function(compile(text, name, "eval"), globals()) for name, text in {texts!r}.items()}}

        def swallow():
            try:
                while True: sum(range(1000))
            except BaseException: pass
            while True: sum(range(1000))

        attempts["swallow the end of its time"] = swallow

        @dataclass
        class NoConfig:
            seed: int = 0
            size: int = 1
            def validate(self): pass

        class Hostile(ProceduralDataset):
            def __getitem__(self, index): return {{}}
            def score_answer(self, answer, entry): return attempts[answer]()

        register_dataset("hostile", Hostile, NoConfig)
        runpy.run_path({str(scoring_worker.__file__)!r}, run_name="__main__")
        """
    path = tmp_path / "worker_with_hostile_scorer.py"
    path.write_text(textwrap.dedent(script))
    monkeypatch.setattr(worker_process, "_SCRIPT", path)


def ends_of(answers: Sequence[str], *, answer_cpu_seconds: float = 5.0) -> dict[str, list[Any]]:
    """What a running worker replies to answers of the hostile dataset: score, and why it is 0."""
    setup = {"datasets": {"hostile": {}}, "seed": 0, "size": 1, "memory_bytes": 2**28}
    worker = WorkerProcess({**setup, "answer_cpu_seconds": answer_cpu_seconds, "strikes": 2})
    try:
        worker.wait_until_ready(60)
        worker.send({"entries": [["hostile", {}]], "answers": [[0, name] for name in answers], "cpu_seconds": 10})
        return {name: worker.receive(30) for name in answers}
    finally:
        worker.kill()


def test_a_running_worker_refuses_whatever_a_scorer_has_no_need_of(hostile_scorer: None) -> None:
    # The audit hook's own refusal, not what the kernel would say behind it.
    assert ends_of([*ATTEMPTS]) == dict.fromkeys(ATTEMPTS, [0.0, "CodeRefused"])


def test_whatever_number_a_scorer_gives_the_score_is_one_from_zero_to_one(hostile_scorer: None) -> None:
    assert ends_of([*NUMBERS]) == {
        "half": [0.5, ""], "many": [1.0, ""], "less": [0.0, ""], "nan": [0.0, "not a number"],
        "endless": [0.0, "not a number"], "text": [0.0, "ValueError"],
    }  # fmt: skip


def test_a_scorer_that_swallows_the_end_of_its_time_is_ended_all_the_same(hostile_scorer: None) -> None:
    ends = ends_of(["swallow the end of its time", "half"], answer_cpu_seconds=0.1)
    assert ends == {"swallow the end of its time": [0.0, "time"], "half": [0.5, ""]}


def test_the_worker_imports_nothing_that_lies_beside_it(hostile_scorer: None, tmp_path: Path) -> None:
    (tmp_path / "reasoning_gym.py").write_text("raise RuntimeError('not the real one')")
    assert ends_of(["half"]) == {"half": [0.5, ""]}


def test_a_key_pressed_in_the_terminal_is_not_for_the_worker(make_sandbox: MakeSandbox) -> None:
    worker = make_sandbox({"gcd": {}}).worker_pid
    assert os.getsid(worker) == worker != os.getsid(0)


def test_a_hostile_scorer_costs_its_own_answers_alone(hostile_scorer: None, make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox({"hostile": {}, "gcd": {}})
    pid = sandbox.worker_pid
    hostile, asked = Problem(slot=0, dataset="hostile", question="", entry={}), problem()
    assert sandbox.score([(hostile, "fork"), right(asked), (hostile, "half"), right(asked)]) == [0.0, 1.0, 0.5, 1.0]
    assert sandbox.worker_pid == pid


def test_a_problem_at_which_workers_hang_gets_no_more_of_them_than_of_time(
    hostile_scorer: None, make_sandbox: MakeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = make_sandbox({"hostile": {}, "gcd": {}}, answer_wall_seconds=0.5)
    hostile, asked = Problem(slot=0, dataset="hostile", question="", entry={}), problem()
    with caplog.at_level(logging.INFO, "rl_swarm.tasks"):
        assert sandbox.score([(hostile, "sleep")] * 5 + [right(asked)]) == [0.0] * 5 + [1.0]
    assert "after others of its problem 3, time 2" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for another process's limits")
def test_the_kernel_holds_a_running_worker_to_its_limits(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox({"gcd": {}}, batch_seconds=40.0)
    assert sandbox.score([right(problem())]) == [1.0]
    worker = psutil.Process(sandbox.worker_pid)
    for limit in (psutil.RLIMIT_CORE, psutil.RLIMIT_FSIZE, psutil.RLIMIT_NPROC):
        assert worker.rlimit(limit) == (0, 0)
    # Every descriptor below the limit is taken, so that none is left to be opened.
    descriptors, hard = worker.rlimit(psutil.RLIMIT_NOFILE)
    assert descriptors == hard
    assert {int(name) for name in os.listdir(f"/proc/{worker.pid}/fd")} == set(range(descriptors))
    in_use = worker.memory_info().vms
    assert in_use <= worker.rlimit(psutil.RLIMIT_AS)[1] <= in_use + 2 * SandboxLimits().memory_bytes
    # What it has used and what the batch may take, in whole seconds up; -1 would be no limit.
    used = worker.cpu_times()
    assert 0 < worker.rlimit(psutil.RLIMIT_CPU)[0] <= used.user + used.system + 40 + 2


def test_behind_the_second_refusal_stands_the_kernel(tmp_path: Path) -> None:
    attempts = ["open('/etc/passwd')", "open('made', 'w')", "socket.socket()", "os.pipe()"]
    ends = confined(attempts, tmp_path)
    assert ends == dict.fromkeys(attempts, "OSError")
    assert not (tmp_path / "made").exists()


def confined(attempts: list[str], folder: Path) -> dict[str, str]:
    """The exceptions that attempts end in, by name, in a process with only the kernel's layer of the worker's."""
    script = f"""
        import json, os, socket, sys
        from rgym_exp.tasks import scoring_worker as worker
        function = type(lambda: 0)
        attempts = {{text: function(compile(text, "attempt", "eval"), globals()) for text in {attempts!r}}}
        worker._confine(2**28)
        ends = {{}}
        for text, attempt in attempts.items():
            try:
                attempt()
                ends[text] = "nothing"
            except BaseException as error:
                ends[text] = type(error).__name__
        print(json.dumps(ends))
        """
    root = str(Path(__file__).resolve().parents[3])
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": root},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    ends: dict[str, str] = json.loads(finished.stdout)
    return ends

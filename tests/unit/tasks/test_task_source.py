"""Task sources: what every peer can rely on, whichever kind it runs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from rgym_exp.tasks import source as source_module
from rgym_exp.tasks.drawing import is_held_out
from rgym_exp.tasks.file import SHIPPED_FOLDER, load_tasks_file
from rgym_exp.tasks.source import HELD_OUT_SLOT, ReasoningGymTasks, TaskSource, tasks_digest
from rgym_exp.types import Problem
from simulation.memory_tasks import MemoryTasks

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted(path.stem for path in SHIPPED_FOLDER.glob("*.yaml"))


@pytest.fixture(scope="module", params=[*SHIPPED, "memory"])
def source(request: pytest.FixtureRequest) -> Iterator[TaskSource]:
    source: TaskSource = MemoryTasks() if request.param == "memory" else ReasoningGymTasks(request.param)
    yield source
    source.close()


@pytest.fixture(scope="module")
def judging(source: TaskSource) -> ReasoningGymTasks | MemoryTasks:
    """The sources that can also be a judge's."""
    assert isinstance(source, ReasoningGymTasks | MemoryTasks)
    return source


@pytest.fixture(scope="module")
def starter() -> Iterator[ReasoningGymTasks]:
    source = ReasoningGymTasks("starter")
    yield source
    source.close()


def drawn(source: TaskSource, count: int) -> list[Problem]:
    return [source.problem(swarm_id="s", round=n // 8, peer_id="QmA", slot=n % 8) for n in range(count)]


def right_completion(problem: Problem) -> str:
    answer = problem.entry["answer"]
    return f"Let me see. <answer>{problem.entry['metadata']['example_answer'] if answer is None else answer}</answer>"


def test_training_never_draws_a_held_out_question(source: TaskSource) -> None:
    held_out = {problem.question for problem in source.held_out(400)}
    assert held_out
    assert not held_out & {problem.question for problem in drawn(source, 3000)}


def test_held_out_problems_are_different_questions_and_always_the_same(source: TaskSource) -> None:
    problems = source.held_out(64)
    assert len({problem.question for problem in problems}) == 64
    assert {problem.slot for problem in problems} == {HELD_OUT_SLOT}
    assert source.held_out(64) == problems
    assert source.held_out(16) == problems[:16]


def test_a_judged_question_is_never_drawn_for_training_and_follows_from_its_number(
    judging: ReasoningGymTasks | MemoryTasks,
) -> None:
    judged = [judging.judged(number) for number in range(300)]
    assert all(is_held_out(problem.question) for problem in judged)
    assert not {problem.question for problem in judged} & {problem.question for problem in drawn(judging, 3000)}
    assert judged[:40] == [judging.judged(number) for number in range(40)]
    assert {problem.slot for problem in judged} == {HELD_OUT_SLOT}
    assert judging.score([(problem, right_completion(problem)) for problem in judged[:40]]) == [1.0] * 40


def test_a_problem_knows_its_slot_and_is_the_same_when_asked_again(source: TaskSource) -> None:
    problems = drawn(source, 8)
    assert [problem.slot for problem in problems] == list(range(8))
    assert drawn(source, 8) == problems


def test_another_peer_gets_other_problems(source: TaskSource) -> None:
    here = [problem.question for problem in drawn(source, 8)]
    there = [source.problem(swarm_id="s", round=0, peer_id="QmB", slot=slot).question for slot in range(8)]
    assert here != there


def test_every_dataset_is_put_as_a_chat_that_ends_in_the_question(source: TaskSource) -> None:
    first_of_each = {problem.dataset: problem for problem in drawn(source, 200)}
    for problem in first_of_each.values():
        messages = source.messages(problem)
        assert problem.question.strip()
        assert [message["role"] for message in messages][0] == "system"
        assert messages[-1] == {"role": "user", "content": problem.question}
        assert all(message["content"].strip() for message in messages)


def test_the_right_answer_is_rewarded_only_inside_the_tags(source: TaskSource) -> None:
    problems = drawn(source, 60)
    assert source.score([(problem, right_completion(problem)) for problem in problems]) == [1.0] * 60
    bare = [
        (problem, right_completion(problem).replace("<answer>", "").replace("</answer>", "")) for problem in problems
    ]
    assert source.score(bare) == [0.0] * 60


def test_nothing_is_drawn_from_or_left_in_the_process_wide_generators(starter: ReasoningGymTasks) -> None:
    import decimal
    import random

    random.seed(1)
    before, precision = random.getstate(), decimal.getcontext().prec
    drawn(starter, 50)
    assert random.getstate() == before
    assert decimal.getcontext().prec == precision


def test_drawing_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    source = ReasoningGymTasks("reasoning-gym")
    drawn(source, 60)
    source.close()
    assert capfd.readouterr().out == ""


def test_a_fresh_process_draws_the_same_problems() -> None:
    script = f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        from {Path(__file__).stem} import fingerprints
        print(fingerprints())
        """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONHASHSEED": "random", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == str(fingerprints())


def fingerprints() -> list[tuple[str, str]]:
    """Of every shipped tasks file: its digest, and a digest of what is drawn from it, entries included."""
    found = []
    for name in SHIPPED:
        source = ReasoningGymTasks(name)
        entries = [problem.entry for problem in drawn(source, 300) + source.held_out(32)]
        text = json.dumps(entries, sort_keys=True, default=str)
        found.append((source.digest, hashlib.sha256(text.encode()).hexdigest()))
        source.close()
    return found


def test_partial_credit_is_kept_only_where_the_tasks_file_says_so(tmp_path: Path) -> None:
    written = "max_completion_length: 20\npartial_credit: {}\ndatasets: {{spell_backward: {{}}}}\n"
    rewards = {}
    for credit in ("false", "true"):
        path = tmp_path / f"{credit}.yaml"
        path.write_text(written.format(credit))
        source = ReasoningGymTasks(path)
        problem = drawn(source, 1)[0]
        word = problem.entry["answer"]
        half_right = word[: len(word) // 2] + "-" * (len(word) - len(word) // 2)
        rewards[credit] = source.score([(problem, f"<answer>{half_right}</answer>")])[0]
        source.close()
    assert rewards["false"] == 0.0
    # spell_backward pays for every letter in its place.
    assert rewards["true"] == pytest.approx((len(word) // 2) / len(word))


def test_the_sources_of_two_tasks_files_have_different_digests(starter: ReasoningGymTasks) -> None:
    other = ReasoningGymTasks("reasoning-gym")
    other.close()
    assert len(starter.digest) == len(other.digest) == 64
    assert starter.digest != other.digest
    assert MemoryTasks(largest=9).digest != MemoryTasks(largest=10).digest


def test_another_reasoning_gym_or_way_of_drawing_is_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = load_tasks_file(SHIPPED_FOLDER / "starter.yaml")
    digests = {tasks_digest(tasks)}
    assert tasks_digest(tasks) in digests
    with monkeypatch.context() as changed:
        changed.setattr(source_module, "reasoning_gym_version", lambda: "0.0.1")
        digests.add(tasks_digest(tasks))
    with monkeypatch.context() as changed:
        changed.setattr(source_module, "DRAWING_VERSION", 10**6)
        digests.add(tasks_digest(tasks))
    assert len(digests) == 3

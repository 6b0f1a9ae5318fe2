"""The soak's verdict, on samples made up for it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.soak import Sample, disk_bytes, kind_of, slope, table, trends

MIB = 2**20
WARM_UP = 600.0


def samples(
    value: Callable[[float], float], *, quantity: str = "memory", process: str = "ada", minutes: float = 60
) -> list[Sample]:
    """One every 30 s; ``value`` of the seconds since the start."""
    return [
        Sample(seconds=30.0 * index, process=process, quantity=quantity, value=value(30.0 * index))
        for index in range(int(2 * minutes))
    ]


def grows(made: list[Sample]) -> bool:
    (trend,) = trends(made, warm_up_seconds=WARM_UP)
    return trend.grows


def test_the_slope_is_that_of_a_line_and_a_few_odd_samples_do_not_move_it() -> None:
    line = [(float(second), 3.0 * second + 7) for second in range(20)]
    assert slope(line) == pytest.approx(3)
    odd = [(second, 1e9 if second in (4, 11, 12) else value) for second, value in line]
    assert slope(odd) == pytest.approx(3, rel=0.01)


def test_a_process_that_only_fluctuates_is_flat() -> None:
    chance = random.Random(1)
    assert not grows(samples(lambda _: 600 * MIB + chance.uniform(-20, 20) * MIB))


def test_growth_while_it_warms_up_does_not_count() -> None:
    assert not grows(samples(lambda seconds: min(seconds, WARM_UP) * MIB))


@pytest.mark.parametrize(("mib_an_hour", "expected"), [(25, False), (60, True)])
def test_memory_grows_by_more_than_a_twentieth_of_what_it_was(mib_an_hour: float, expected: bool) -> None:
    assert grows(samples(lambda seconds: (600 + mib_an_hour * seconds / 3600) * MIB)) is expected


@pytest.mark.parametrize(("mib_an_hour", "expected"), [(20, False), (40, True)])
def test_a_small_process_may_grow_by_the_allowance(mib_an_hour: float, expected: bool) -> None:
    assert grows(samples(lambda seconds: (80 + mib_an_hour * seconds / 3600) * MIB)) is expected


@pytest.mark.parametrize(("quantity", "an_hour"), [("descriptors", 30), ("threads", 6), ("disk", 120 * MIB)])
def test_descriptors_threads_and_disk_are_judged_too(quantity: str, an_hour: float) -> None:
    assert grows(samples(lambda seconds: 20 + an_hour * seconds / 3600, quantity=quantity))
    assert not grows(samples(lambda _: 20, quantity=quantity))


def test_a_chain_that_is_started_anew_when_it_has_grown_is_flat_and_one_that_never_sinks_grows() -> None:
    def saw(seconds: float) -> float:
        return (40 + 60 * (seconds % 1500) / 1500) * MIB

    assert not grows(samples(saw, process="hub anvil"))
    assert grows(samples(lambda seconds: (40 + 200 * seconds / 3600) * MIB, process="hub anvil"))


def test_a_step_is_not_growth() -> None:
    assert not grows(samples(lambda seconds: (100 if seconds < 1200 else 900) * MIB, quantity="disk"))


def test_a_process_that_came_and_went_is_not_judged() -> None:
    assert trends(samples(lambda seconds: seconds, minutes=60)[-3:], warm_up_seconds=WARM_UP) == []


def test_the_table_names_what_grows() -> None:
    flat = samples(lambda _: 100 * MIB)
    growing = samples(lambda seconds: 20 + seconds, process="hub p2pd", quantity="descriptors")
    lines = list(table(trends([*flat, *growing], warm_up_seconds=WARM_UP)))
    assert [line.split()[-1] for line in lines[1:-1]] == ["flat", "GROWS"]
    assert lines[-1] == "Growing: hub p2pd's descriptors."
    assert list(table(trends(flat, warm_up_seconds=WARM_UP)))[-1] == "Everything is flat."


def test_children_are_told_apart_by_their_command() -> None:
    assert kind_of(["/x/hivemind_cli/p2pd", "-listen=1"]) == "p2pd"
    assert kind_of(["/x/anvil", "--host", "127.0.0.1"]) == "anvil"
    assert kind_of(["python", "/x/tasks/scoring_worker.py"]) == "scoring_worker"
    assert kind_of(["git"]) == "other"


def test_a_folder_is_as_large_as_what_its_files_take(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    empty = disk_bytes(tmp_path)
    (tmp_path / "below" / "file").write_bytes(b"x" * 100_000)
    assert 100_000 <= disk_bytes(tmp_path) - empty < 200_000


def test_the_command_says_what_it_takes() -> None:
    said = subprocess.run([sys.executable, "-m", "benchmarks.soak", "--help"], capture_output=True, text=True)
    assert said.returncode == 0
    assert all(option in said.stdout for option in ("--minutes", "--nodes", "--model", "--samples"))

"""The benchmark of the pace as a user starts it, in its shortest form."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import swarm


def test_it_prints_a_line_for_each_size_of_swarm_and_writes_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "figures.json"
    options = ["--peers", "4", "8", "--minutes", "6.5", "--strangers", "vanish", "--strangers-count", "2"]
    monkeypatch.setattr(sys, "argv", ["swarm", *options, "--json", str(file)])
    swarm.main()
    small, large = json.loads(file.read_text())
    assert (small["peers"], large["peers"]) == (4, 8)
    assert large["rounds/h"] > 300 and large["never heard"] == 0
    printed = capsys.readouterr().out
    assert "rounds/h" in printed and "median round before the strangers" in printed


def test_the_same_seed_gives_the_same_swarm() -> None:
    plan = swarm.SwarmPlan(peers=4, minutes=2)
    assert swarm.simulate(plan).began == swarm.simulate(plan).began


def test_the_former_rule_can_be_compared_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {}
    for rule in ("present", "former"):
        file = tmp_path / rule
        options = ["--peers", "32", "--minutes", "6", "--rule", rule]
        monkeypatch.setattr(sys, "argv", ["swarm", *options, "--json", str(file)])
        swarm.main()
        (figures[rule],) = json.loads(file.read_text())
        assert figures[rule]["rule"] == rule
    now, before = figures["present"], figures["former"]
    assert before["rounds/h"] < 0.75 * now["rounds/h"], "it waits for the slowest"
    assert before["unused"] > 2 * now["unused"], "it fetches from whoever is first"
    quickest, *_, slowest = before["uses_by_quarter"]
    assert slowest < 0.5 * quickest

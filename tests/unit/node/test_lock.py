"""One node per home."""

from __future__ import annotations

from pathlib import Path

import pytest

from rgym_exp.config.paths import Home
from rgym_exp.node.lock import HomeTaken, only_node_of


def test_a_second_node_in_the_same_home_is_told_what_to_do(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    with only_node_of(home), pytest.raises(HomeTaken, match="--home DIR"), only_node_of(home):
        raise AssertionError("two nodes in one home")


def test_the_home_is_free_again_when_its_node_has_ended(tmp_path: Path) -> None:
    entered = 0
    for _ in range(2):
        with only_node_of(Home(root=tmp_path)):
            entered += 1
    assert entered == 2


def test_nodes_in_different_homes_do_not_mind_each_other(tmp_path: Path) -> None:
    with only_node_of(Home(root=tmp_path / "a")), only_node_of(Home(root=tmp_path / "b")):
        assert (tmp_path / "b" / ".rl-swarm" / "run.lock").exists()

"""One node per home."""

from __future__ import annotations

from pathlib import Path

import pytest

from rgym_exp.config.paths import Home
from rgym_exp.node.lock import HomeTaken, IdentityTaken, only_node_of, only_node_with_identity
from rgym_exp.swarm.identity import load_or_create_identity


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


def test_one_identity_plays_once_on_a_machine_whichever_home_it_lies_in(tmp_path: Path) -> None:
    one, copy, other = (Home(root=tmp_path / name) for name in ("one", "copy", "other"))
    for home in (one, copy, other):
        home.root.mkdir()
    load_or_create_identity(one.identity)
    copy.identity.write_bytes(one.identity.read_bytes())
    load_or_create_identity(other.identity)
    locks = tmp_path / "locks"
    with only_node_with_identity(one, locks):
        with pytest.raises(IdentityTaken, match="already runs on this machine"), only_node_with_identity(copy, locks):
            pass
        with only_node_with_identity(other, locks):
            pass
    with only_node_with_identity(copy, locks):
        pass


def test_a_home_without_an_identity_yet_holds_none(tmp_path: Path) -> None:
    with only_node_with_identity(Home(root=tmp_path), tmp_path / "locks"):
        assert not (tmp_path / "locks").exists()

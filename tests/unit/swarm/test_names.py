"""Names for people."""

from __future__ import annotations

from rgym_exp.swarm import names
from rgym_exp.swarm.names import animal_name


def test_a_name_has_three_words() -> None:
    assert len(animal_name("QmPeer").split()) == 3


def test_a_name_never_changes() -> None:
    # Written down once: who changes the lists or the hash renames every peer of every swarm.
    assert [animal_name(peer) for peer in ("0", "1", "2")] == [
        "brisk sepia yak",
        "spry apricot jaguar",
        "deft mint camel",
    ]


def test_the_lists_hold_as_many_different_words_as_the_documentation_says() -> None:
    sizes = [len(set(words)) for words in (names._MOODS, names._HUES, names._ANIMALS)]
    assert sizes == [64, 64, 128]


def test_names_spread_over_the_lists() -> None:
    drawn = {animal_name(str(number)) for number in range(1000)}
    assert len(drawn) > 990

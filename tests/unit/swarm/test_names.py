"""Names for people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rgym_exp.swarm import names
from rgym_exp.swarm.names import animal_name


@pytest.mark.parametrize(
    ("peer_id", "name"),
    [
        # From the first RL Swarm's own test of its names.
        ("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", "thorny fishy meerkat"),
        ("Qma9T5YraSnpRDZqRR4krcSJabThc8nwZuJV3LercPHufi", "singing keen cow"),
        ("Qmb8wVVVMTRmG4U1tCdaCCqietuWwpGRSbL53PA5azBViP", "toothy carnivorous bison"),
        # The public swarm's bootnodes, named by its code.
        ("QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ", "beaked fishy cat"),
        ("QmWhiaLrx3HRZfgXc2i7KW5nMUNK7P9tRc71yFJdGEZKkC", "masked carnivorous bison"),
        ("QmQa1SCfYTxx7RvU7qJJRo79Zm1RAwPpkeLueDVJuBBmFp", "elusive omnivorous clam"),
    ],
)
def test_a_peer_has_the_name_that_the_first_rl_swarm_gave_it(peer_id: str, name: str) -> None:
    assert animal_name(peer_id) == name


def test_the_lists_never_change() -> None:
    # Their lengths are part of the rule: who adds or removes a word renames every peer of every swarm.
    assert (len(names._words().adjectives), len(names._words().animals)) == (245, 220)


def test_the_words_come_with_the_licence_of_their_authors() -> None:
    lists = json.loads((Path(names.__file__).parent / "animal_names.json").read_text())
    assert lists["licence"][:3] == ["MIT License", "", "Copyright (c) [2025] [Gensyn]"]
    assert "shall be included in all" in " ".join(lists["licence"])


def test_names_spread_over_the_lists() -> None:
    drawn = {animal_name(str(number)) for number in range(1000)}
    assert len(drawn) > 990

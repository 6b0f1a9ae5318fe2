"""What keeps a file shut, and what doesn't."""

from __future__ import annotations

import pytest

from rgym_exp.base.passphrase import weakness_of


@pytest.mark.parametrize("good", ["correct horse", "k8#vQz!2mW@x", "lamp river seven moss", "grün blaugrau Apfel"])
def test_long_ones_of_many_letters_are_taken(good: str) -> None:
    assert weakness_of(good) is None


@pytest.mark.parametrize(
    ("weak", "why"),
    [
        ("", "is empty"),
        ("abc", "has 3 of at least 12 characters"),
        ("abababababab", "tried first"),
        ("098765432109", "tried first"),
        ("Password1234!", "tried first"),
        ("qwertyasdfgh", "tried first"),
    ],
)
def test_those_that_are_soon_guessed_are_named(weak: str, why: str) -> None:
    assert why in (weakness_of(weak) or "")

"""Games for the prediction market: a question whose clues make its answer clearer, one after the other.

Something is drawn again and again, with one of four outcomes likelier than the others, and each clue shows all draws
so far. Nobody needs to know anything to play, a small language model can go by what it reads, and how sure one may be
after each clue is plain arithmetic (Bayes' rule).

Draws are made until the answer's probability rises with every clue, and ends high. Such a choice among draws tells a
player who knows of it a little more than the draws themselves; ``certainty`` is that of the draws alone.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rgym_exp.judge.commitment import Opening, opening_of

CHOICES = 4
LIKELY = Fraction(55, 100)
"""Probability of the answer at each draw; the others share the rest."""
DRAWS_BY_CLUE: dict[int, tuple[int, ...]] = {4: (2, 5, 9, 14), 5: (2, 4, 7, 11, 16)}
"""Draws shown, by how many clues a game has."""
SURE = Fraction(9, 10)
"""The answer's probability after the last clue is above this."""
OPEN = Fraction(3, 4)
"""After the first clue it is at most this, so that an early bet is a risk."""


@dataclass(frozen=True, kw_only=True)
class _Theme:
    """One way to put the question."""

    words: tuple[str, ...]
    """Choices are taken from these. No word is part of another."""
    setting: str
    """``{choices}`` is filled in."""
    each: str
    """What is asked at each draw."""
    question: str


_THEMES: tuple[_Theme, ...] = (
    _Theme(
        words=("red", "blue", "green", "yellow", "black", "white", "purple", "orange", "brown", "pink"),
        setting="A bag holds many marbles of four colours: {choices}. One colour is more common than the others.",
        each="What colour is drawn?",
        question="Which colour is the most common in the bag?",
    ),
    _Theme(
        words=("apple", "pear", "plum", "cherry", "lemon", "mango", "banana", "peach", "melon", "fig"),
        setting="A shop sells four kinds of fruit: {choices}. One kind sells better than the others.",
        each="What is sold?",
        question="Which fruit sells best?",
    ),
    _Theme(
        words=("fox", "deer", "owl", "hare", "wolf", "bear", "badger", "lynx", "boar", "otter"),
        setting="Four animals come to a pond: {choices}. One of them comes more often than the others.",
        each="What animal is seen?",
        question="Which animal comes most often?",
    ),
    _Theme(
        words=("piano", "violin", "flute", "drum", "harp", "trumpet", "cello", "guitar", "oboe", "banjo"),
        setting="A radio station plays four instruments: {choices}. One of them is played more often than the others.",
        each="What instrument is heard?",
        question="Which instrument is played most often?",
    ),
    _Theme(
        words=("bread", "soup", "rice", "salad", "fish", "pizza", "pasta", "cheese", "curry", "stew"),
        setting="A kitchen serves four dishes: {choices}. One of them is ordered more often than the others.",
        each="What is ordered?",
        question="Which dish is ordered most often?",
    ),
    _Theme(
        words=("north", "south", "east", "west"),
        setting="The wind comes from four directions: {choices}. One of them is more frequent than the others.",
        each="Where does the wind come from?",
        question="Which direction is the most frequent?",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Game:
    """A game as its host knows it."""

    choices: tuple[str, ...]
    """[4]"""
    answer: int
    """Index into the choices."""
    clues: tuple[str, ...]
    """Each with the question, the choices and all draws so far."""
    certainty: tuple[float, ...]
    """[clues]: the answer's probability after each clue."""
    root: bytes
    """[32] What the contract is told at the start."""
    opening: Opening
    """What everybody is told at the end."""


def make_game(secret: bytes, *, clues: int = 5) -> Game:
    """The game that follows from a secret of at least 16 bytes, with 4 or 5 clues."""
    if len(secret) < 16:
        raise ValueError("A game's secret has at least 16 bytes, or its answer could be guessed by trying.")
    # Seeded by a hash of the secret, and salted by another: the salt is made public one day, and must not tell
    # anything about what else may follow from the secret.
    chance = random.Random(hashlib.sha256(b"game\n" + secret).digest())
    theme = chance.choice(_THEMES)
    choices = tuple(chance.sample(theme.words, CHOICES))
    answer = chance.randrange(CHOICES)
    shown = DRAWS_BY_CLUE[clues]
    draws, certainty = _clarifying_draws(chance, answer, shown)
    texts = [_clue(theme, choices, draws[:count]) for count in shown]
    salt = hashlib.sha256(b"salt\n" + secret).digest()
    root, opening = opening_of(salt=salt, clues=texts, choices=choices, answer=answer)
    return Game(
        choices=choices,
        answer=answer,
        clues=tuple(texts),
        certainty=tuple(float(probability) for probability in certainty),
        root=root,
        opening=opening,
    )


def posterior(draws: Sequence[int]) -> list[Fraction]:
    """[4] How likely each choice is to be the likelier one, given the draws, when all were equally so before.

    Bayes' rule: proportional to the draws' probability under each, LIKELY^(its count) times the others' likewise.
    """
    other = (1 - LIKELY) / (CHOICES - 1)
    weights = [(LIKELY / other) ** draws.count(choice) for choice in range(CHOICES)]
    return [weight / sum(weights) for weight in weights]


def _clue(theme: _Theme, choices: Sequence[str], draws: Sequence[int]) -> str:
    """The clue's text: a line for each draw, its outcome in the tags in which a player answers.

    So a model that does no more than go on with a pattern is better than chance already: SmolLM2-135M-Instruct, as
    it comes, found the answer in 0.43 to 0.55 of 40 games, and in 0.18 to 0.28 where the draws were a plain list.
    """
    lines = [f"{theme.each} <answer>{choices[draw]}</answer>" for draw in draws]
    return "\n".join([theme.setting.format(choices=", ".join(choices)), *lines, theme.question])


def _clarifying_draws(
    chance: random.Random, answer: int, shown: Sequence[int]
) -> tuple[list[int], tuple[Fraction, ...]]:
    """Draws under which the answer grows more likely with every clue; and how likely it is after each."""
    weights = [float(LIKELY) if choice == answer else float(1 - LIKELY) / (CHOICES - 1) for choice in range(CHOICES)]
    while True:  # One set of draws in five is of use.
        draws = chance.choices(range(CHOICES), weights, k=shown[-1])
        certainty = tuple(posterior(draws[:count])[answer] for count in shown)
        steps = zip((Fraction(1, CHOICES), *certainty), certainty, strict=False)
        if certainty[0] <= OPEN and certainty[-1] > SURE and all(before < after for before, after in steps):
            return draws, certainty

"""Which problem a (swarm, round, peer, slot) gets, and which problems are held out.

Everything here is a pure function of its arguments and of SHA-256, so that every peer on every machine draws the
same. Whether a question is held out depends on its **text** alone: a training draw that hits a held-out question is
drawn again, and so no mix, swarm or peer ever trains on one, however small a dataset's range is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rgym_exp.errors import TasksError

DRAWING_VERSION = 1
"""Part of the tasks digest: raise it with any change that makes old and new nodes draw differently."""

INDEX_RANGE = 2**40
"""A dataset's items are numbered 0 to this, exclusive."""

HELD_OUT_ONE_IN = 8
"""One question in so many is held out."""

_DRAWS_PER_DATASET = 48
"""Draws from one dataset before another one is tried; (1/8)^48 where held-out questions are as rare as they should
be, so that only a dataset of a handful of questions ever gets there."""
_DRAWS = 8 * _DRAWS_PER_DATASET
_JUDGED_DRAWS_PER_DATASET = 96
"""As _DRAWS_PER_DATASET, for a judge's draws, of which one in eight is of use; (7/8)^96 is 3 in a million."""
_JUDGED_DRAWS = 8 * _JUDGED_DRAWS_PER_DATASET
_FRUITLESS_HELD_OUT_DRAWS = 400
"""Draws without a new held-out question after which a dataset counts as exhausted."""

Item = Mapping[str, Any]
ItemAt = Callable[[str, int], Item]
"""(dataset name, index) -> reasoning-gym's item."""


def is_held_out(question: str) -> bool:
    """Whether a question is kept for evaluation and never trained on."""
    return hashlib.sha256(b"held-out\n" + question.encode()).digest()[0] % HELD_OUT_ONE_IN == 0


def draw_training_item(
    weights: Mapping[str, float], item_at: ItemAt, *, swarm_id: str, round: int, peer_id: str, slot: int
) -> tuple[str, Item]:
    """The dataset and item of one training problem.

    Raises:
        TasksError: every question that was drawn is held out; the mix has only a handful of different questions.
    """
    for attempt in range(_DRAWS):
        place: list[str | int] = ["problem", DRAWING_VERSION, swarm_id, round, peer_id, slot]
        dataset = choose(weights, _number(*place, "dataset", attempt // _DRAWS_PER_DATASET))
        item = item_at(dataset, _number(*place, "item", attempt) % INDEX_RANGE)
        if not is_held_out(item["question"]):
            return dataset, item
    raise TasksError(
        f"None of {_DRAWS} draws gave a question to train on: the datasets {', '.join(sorted(weights))} have too few "
        "different questions with these parameters. Widen their ranges or add a dataset."
    )


def held_out_items(weights: Mapping[str, float], item_at: ItemAt) -> Iterator[tuple[str, Item]]:
    """Held-out items without repeats, datasets taking turns by weight, until the datasets have no more.

    A longer list begins with the shorter one.
    """
    sources = {name: _held_out_of(name, item_at) for name in weights}
    turns = {name: 0.0 for name in sorted(weights)}
    while turns:
        for name in turns:
            turns[name] += weights[name]
        chosen = max(turns, key=lambda name: turns[name])
        turns[chosen] -= sum(weights[name] for name in turns)
        item = next(sources[chosen], None)
        if item is None:
            del turns[chosen]
        else:
            yield chosen, item


def draw_judged_item(weights: Mapping[str, float], item_at: ItemAt, *, number: int) -> tuple[str, Item]:
    """The dataset and the held-out item of a judge's question, datasets by weight.

    Its draws are of a range of their own, neither that of training nor that of a node's own evaluation; in a dataset
    of few questions the same text may still come up in the latter.

    Raises:
        TasksError: no question that was drawn is held out; the mix has only a handful of different questions.
    """
    for attempt in range(_JUDGED_DRAWS):
        place: list[str | int] = ["judged", DRAWING_VERSION, number]
        dataset = choose(weights, _number(*place, "dataset", attempt // _JUDGED_DRAWS_PER_DATASET))
        item = item_at(dataset, _number(*place, "item", attempt) % INDEX_RANGE)
        if is_held_out(item["question"]):
            return dataset, item
    raise TasksError(
        f"None of {_JUDGED_DRAWS} draws gave a question that is held out: the datasets {', '.join(sorted(weights))} "
        "have too few different questions with these parameters. Widen their ranges or add a dataset."
    )


def choose(weights: Mapping[str, float], number: int) -> str:
    """The name that a number in [0, 2**64) falls on, names side by side in alphabetical order."""
    names = sorted(weights)
    point = number / 2**64 * sum(weights[name] for name in names)
    for name in names:
        point -= weights[name]
        if point < 0:
            return name
    return names[-1]


def _held_out_of(dataset: str, item_at: ItemAt) -> Iterator[Item]:
    seen: set[str] = set()
    fruitless = attempt = 0
    while fruitless < _FRUITLESS_HELD_OUT_DRAWS:
        item = item_at(dataset, _number("held-out", DRAWING_VERSION, dataset, attempt) % INDEX_RANGE)
        attempt += 1
        fruitless += 1
        if is_held_out(item["question"]) and item["question"] not in seen:
            seen.add(item["question"])
            fruitless = 0
            yield item


def _number(*parts: str | int) -> int:
    """A number in [0, 2**64) that looks random but follows from the parts; JSON keeps their borders unmistakable."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:8], "big")

"""How a model plays the prediction market: what it is asked, what its answers look like, how much it stakes on which.

The rules are those of the network's reference player, so that nodes of both kinds play the same game (RL Swarm's
published description of the AI Prediction Market): after a training round every possible answer is scored by the
summed log-probability of its text in answer tags after a prompt of the clue and the possible answers; on the best of
them the balance divided by the clues remaining is staked. No network and no model here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rgym_exp.judge.judge import Clue

_SYSTEM = (
    "You are given everything that is known so far about a question, and a list of possible answers, one of which is "
    "right. Reply with the most probable one only, word for word, inside <answer> tags."
)


def clue_chat(clue: Clue) -> list[dict[str, str]]:
    """The chat after which the possible answers are scored."""
    choices = "\n".join(f"- {choice}" for choice in clue.choices)
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": f"{clue.text}\n\nPossible answers:\n{choices}"},
    ]


def answer_texts(clue: Clue) -> list[str]:
    """What the model would reply, for each choice."""
    return [f"<answer>{choice}</answer>" for choice in clue.choices]


def best_choice(scores: Sequence[float]) -> int:
    """Index of the highest score; the first of several.

    Raises:
        ValueError: there is none, or one is no finite number, so that nothing can be said.
    """
    if not scores or not all(math.isfinite(score) for score in scores):
        raise ValueError(f"these scores say nothing: {list(scores)}")
    return max(range(len(scores)), key=lambda index: scores[index])


def stake_on(clue: Clue, balance: int) -> int:
    """What to stake on this clue, of ``balance``, both in the smallest unit: an equal part for every clue left.

    With one clue left, or none, that is everything.
    """
    return max(0, balance) // max(1, clue.rounds_remaining)

"""Problems whose prompts have an exact number of tokens, scored in the real sandbox."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from rgym_exp.tasks.source import ReasoningGymTasks
from rgym_exp.training.policy import Chat, ChatTokens
from rgym_exp.types import Problem


class FixedLengthTasks(ReasoningGymTasks):
    """The starter problems, padded; every second answer counts as right, so that no group's advantages are zero."""

    def __init__(self, prompt_tokens: int, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__("starter")
        self._prompt_tokens = prompt_tokens
        self._tokens = ChatTokens(tokenizer, 1)

    def messages(self, problem: Problem) -> Chat:
        """A chat of exactly the wanted number of tokens: one word a token, told apart by their order."""
        words = [" the", " of", " and", " to"]
        picked = [words[(ord(letter) + place) % 4] for place, letter in enumerate(problem.question * 40)]
        empty = len(self._tokens.prompt([{"role": "user", "content": " the"}])) - 1
        return [{"role": "user", "content": "".join(picked[: self._prompt_tokens - empty])}]

    def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
        """Every answer goes through the scoring sandbox, as in a round; what comes back is set to alternate."""
        super().score([(problem, f"<answer>{text[:40]}</answer>") for problem, text in answers])
        return [float(position % 2) for position in range(len(answers))]

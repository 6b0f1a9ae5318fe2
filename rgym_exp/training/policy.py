"""The model being trained, as the rest of the node sees it: chats in, completions out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from rgym_exp.training.chat_template import Chat, ChatTemplate
from rgym_exp.training.sampling import SampledTokens
from rgym_exp.types import Completion


class Policy(Protocol):
    """The model being trained. The trainer's is ``ChatPolicy``; tests and simulations script their own."""

    model_name: str
    """What the swarm is told that this is: a name, never a path."""

    def complete(self, prompts: Sequence[Chat], copies: int) -> list[list[Completion]]:
        """Sample ``copies`` completions of each chat in one batched call: ``[len(prompts)][copies]``."""

    def greedy(self, prompts: Sequence[Chat]) -> list[str]:
        """The most likely answer to each chat, for evaluation: ``[len(prompts)]`` texts."""

    def score_answers(self, prompt: Chat, answers: Sequence[str]) -> list[float]:
        """Summed log-probability of each answer's tokens after the chat, nats: ``[len(answers)]``.

        Raises ValueError for texts that are too long to be scored, or empty.
        """


class Sampler(Protocol):
    """Turns prompt ids into answers, and says how likely given answers are; two kinds: our shared prefill, and TRL's
    own generation."""

    def sample(
        self, prompts: Sequence[Sequence[int]], copies: int, *, greedy: bool = False
    ) -> list[list[SampledTokens]]:
        """``copies`` answers to each prompt: ``[len(prompts)][copies]``."""

    def score(self, prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float]:
        """Summed log-probability of each answer after the prompt, nats; see ``answer_scores.py`` for ValueError."""


class ChatTokens:
    """Chats and answers as token ids, in the words of one tokenizer.

    Raises:
        ModelError: its chat template can't be used.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, max_completion_length: int, model_name: str = "this model"
    ) -> None:
        self._tokenizer = tokenizer
        self._template = ChatTemplate.of(tokenizer, model_name)
        self._max_completion_length = max_completion_length
        self._special = _any_of(
            [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
            + list(tokenizer.all_special_tokens)
        )

    def prompt(self, chat: Chat) -> list[int]:
        """The chat up to where the assistant's answer begins. Special tokens spelt in a message stay text."""
        # A message may quote a stranger. The template puts the real special tokens between messages, so the whole can
        # only be split into tokens with them in force: in the messages they must not be there.
        chat = [{**message, "content": self._without_special(message["content"])} for message in chat]
        return self._template.token_ids(chat)

    def answer(self, completion: Completion) -> list[int]:
        """Ids to train on: the sampled ones of a local completion; external text in our own tokens, EOS if it ended."""
        if completion.token_ids is not None:
            return list(completion.token_ids)
        ids = self.plain(completion.text)
        fits = len(ids) < self._max_completion_length
        ids = ids[: self._max_completion_length]
        # An answer of no tokens cannot be trained on; that it ended at once is what it is trained on.
        return [*ids, self._tokenizer.eos_token_id] if (completion.ended and fits) or not ids else ids

    def plain(self, text: str) -> list[int]:
        """A text's ids, nothing added."""
        # A stranger's text may spell special tokens; as tokens they would forge turns of the chat.
        return list(self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def text(self, ids: Sequence[int]) -> str:
        """The answer without special tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _without_special(self, text: str) -> str:
        # A space after the first character: people read it as it was, and the tokenizer doesn't.
        return self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text) if self._special else text


def _any_of(words: Sequence[str]) -> re.Pattern[str] | None:
    """Finds any of the words, the longest first; None without words."""
    ordered = sorted({word for word in words if word}, key=lambda word: (-len(word), word))
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


class ChatPolicy:
    """The trainer's policy: chat template, sampler, text."""

    def __init__(self, tokens: ChatTokens, sampler: Sampler, model_name: str) -> None:
        self.model_name = model_name
        self._tokens = tokens
        self._sampler = sampler

    def complete(self, prompts: Sequence[Chat], copies: int) -> list[list[Completion]]:
        """See ``Policy.complete``."""
        answers = self._sampler.sample([self._tokens.prompt(chat) for chat in prompts], copies)
        return [[self._completion(answer) for answer in group] for group in answers]

    def greedy(self, prompts: Sequence[Chat]) -> list[str]:
        """See ``Policy.greedy``."""
        answers = self._sampler.sample([self._tokens.prompt(chat) for chat in prompts], 1, greedy=True)
        return [self._tokens.text(group[0].token_ids) for group in answers]

    def score_answers(self, prompt: Chat, answers: Sequence[str]) -> list[float]:
        """See ``Policy.score_answers``."""
        return self._sampler.score(self._tokens.prompt(prompt), [self._tokens.plain(answer) for answer in answers])

    def _completion(self, answer: SampledTokens) -> Completion:
        known = answer.logprobs if answer.logprobs else None
        return Completion(
            text=self._tokens.text(answer.token_ids),
            ended=answer.ended,
            mean_logprob=sum(known) / len(known) if known else None,
            token_ids=answer.token_ids,
            token_logprobs=known,
        )

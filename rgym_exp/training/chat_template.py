"""Chats made to suit a model's chat template: some have no system role, some want user and assistant in turns."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from rgym_exp.errors import ModelError

Chat = list[dict[str, str]]
"""Messages with a role and a content."""

# Words that no template says of itself, so that a text which left them out has lost the message.
_SYSTEM, _FIRST, _ANSWER, _LAST = "Zanzibar", "Reykjavik", "Montevideo", "Ouagadougou"


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """A tokenizer's chat template, and what it does not take."""

    tokenizer: PreTrainedTokenizerBase
    takes_system: bool
    """False: what the system says goes into the first message of the user (Gemma 1 and 2, Mistral 7B)."""
    takes_neighbours: bool
    """False: messages of the same role that follow each other become one."""

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, name: str) -> ChatTemplate:
        """Find out by rendering short chats.

        Args:
            name: the model's, for the error.

        Raises:
            ModelError: it can't render a chat of user and assistant either.
        """
        system, user = {"role": "system", "content": _SYSTEM}, {"role": "user", "content": _FIRST}
        rest = [{"role": "assistant", "content": _ANSWER}, {"role": "user", "content": _LAST}]
        try:
            complete = _shows(tokenizer, [user, *rest], _FIRST, _ANSWER, _LAST)
        except Exception as error:  # A template is a program: it may raise what it likes.
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ModelError(
                f"The chat template of {name} is broken ({type(error).__name__}: {reason}). "
                "Repair its tokenizer's chat_template, or choose another model."
            ) from error
        if not complete:
            raise ModelError(
                f"The chat template of {name} leaves out what user or assistant say, so it cannot be asked questions. "
                "Choose an instruct model."
            )
        return cls(
            tokenizer=tokenizer,
            takes_system=_takes(tokenizer, [system, user, *rest], _SYSTEM, _FIRST, _LAST),
            takes_neighbours=_takes(tokenizer, [user, rest[1]], _FIRST, _LAST),
        )

    def token_ids(self, chat: Chat) -> list[int]:
        """The chat up to where the assistant's answer begins."""
        # Models that can think aloud (Qwen3) would spend the whole length limit on it; other templates ignore the key.
        return list(
            self.tokenizer.apply_chat_template(
                self.suited(chat), add_generation_prompt=True, tokenize=True, return_dict=False, enable_thinking=False
            )
        )

    def suited(self, chat: Chat) -> Chat:
        """The chat in messages that the template takes."""
        if not self.takes_system:
            chat = [{**message, "role": "user"} if message["role"] == "system" else message for message in chat]
        if self.takes_system and self.takes_neighbours:
            return chat
        joined: Chat = []
        for message in chat:
            if joined and joined[-1]["role"] == message["role"]:
                joined[-1] = {**message, "content": f"{joined[-1]['content']}\n\n{message['content']}"}
            else:
                joined.append(message)
        return joined


def _shows(tokenizer: PreTrainedTokenizerBase, chat: Chat, *words: str) -> bool:
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False, enable_thinking=False)
    return all(word in str(text) for word in words)


def _takes(tokenizer: PreTrainedTokenizerBase, chat: Chat, *words: str) -> bool:
    try:
        return _shows(tokenizer, chat, *words)
    except Exception:  # How templates refuse: raise_exception, or whatever their own mistakes come to.
        return False

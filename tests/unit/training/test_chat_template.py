"""A chat reaches the model whole, whatever its template takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rgym_exp.errors import ModelError
from rgym_exp.training.chat_template import Chat
from rgym_exp.training.policy import ChatTokens

# As Gemma 1 and 2 have it.
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "<start_of_turn>{{ message['role'] + '\n' + message['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# As older templates have it: no word of the system, and no complaint.
DEAF_TO_SYSTEM = (
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "[{{ message['role'] }}] {{ message['content'] }}\n{% endif %}{% endfor %}[assistant]"
)
CHAT: Chat = [
    {"role": "system", "content": "Answer in tags."},
    {"role": "user", "content": "1 + 1?"},
    {"role": "assistant", "content": "<answer>2</answer>"},
    {"role": "user", "content": "2 + 2?"},
]


def tokenizer_with(folder: Path, template: str | None) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


def rendered(tokenizer: PreTrainedTokenizerBase, chat: Chat) -> str:
    return str(tokenizer.decode(ChatTokens(tokenizer, 8).prompt(chat)))


def test_a_template_that_takes_everything_gets_the_chat_as_it_is(tiny_model_folder: Path) -> None:
    tokenizer = tokenizer_with(tiny_model_folder, None)
    assert rendered(tokenizer, CHAT) == tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False)


def test_without_a_system_role_its_text_begins_the_first_message_of_the_user(tiny_model_folder: Path) -> None:
    assert rendered(tokenizer_with(tiny_model_folder, NO_SYSTEM), CHAT) == (
        "<start_of_turn>user\nAnswer in tags.\n\n1 + 1?<end_of_turn>\n"
        "<start_of_turn>assistant\n<answer>2</answer><end_of_turn>\n"
        "<start_of_turn>user\n2 + 2?<end_of_turn>\n"
        "<start_of_turn>model\n"
    )


def test_a_template_that_would_drop_the_system_text_in_silence_does_not_lose_it(tiny_model_folder: Path) -> None:
    assert rendered(tokenizer_with(tiny_model_folder, DEAF_TO_SYSTEM), CHAT) == (
        "[user] Answer in tags.\n\n1 + 1?\n[assistant] <answer>2</answer>\n[user] 2 + 2?\n[assistant]"
    )


def test_neighbours_of_one_role_are_joined_for_a_template_of_strict_turns(tiny_model_folder: Path) -> None:
    chat = [{"role": "user", "content": "First."}, {"role": "user", "content": "Second."}]
    strict = rendered(tokenizer_with(tiny_model_folder, NO_SYSTEM), chat)
    assert "First.\n\nSecond.<end_of_turn>" in strict


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            "{% for message in messages %}{{ message['content'] }",
            "chat template of .* is broken .*TemplateSynt",
        ),
        ("{{ raise_exception('not for chats') }}", "is broken .*not for chats"),
        ("Hello!", "leaves out what user or assistant say"),
    ],
)
def test_a_template_that_cannot_be_used_is_a_sentence(tiny_model_folder: Path, template: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        ChatTokens(tokenizer_with(tiny_model_folder, template), 8)

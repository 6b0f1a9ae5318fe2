"""A language model of 35 thousand parameters that speaks bytes: real in everything but size."""

from __future__ import annotations

from pathlib import Path

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"

_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def save_tiny_model(folder: Path) -> Path:
    """Write a random Llama (hidden 32, 2 layers, 4 heads, 2 of them for keys and values) and its byte tokenizer.

    The weights are the same every time; the caller's random state stays as it was.
    """
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bytes_as_characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Byte-pair encoding without merges: one token a byte.
    words = Tokenizer(models.BPE(vocab={character: i for i, character in enumerate(bytes_as_characters)}, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words.decoder = decoders.ByteLevel()
    words.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (PAD, START, END)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token=END,
        pad_token=PAD,
        chat_template=_CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )
    tokenizer.save_pretrained(folder)

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder

"""Sampling with a shared prefill, held against transformers' own generation and the model's own probabilities."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from rgym_exp.training.sampling import SamplingSettings, sample_groups

PAD, EOS = 0, 1
PROMPTS = [[5, 6, 7, 8, 9], [20, 21], [30, 31, 32]]


def settings(**changes: object) -> SamplingSettings:
    chosen: dict = {
        "max_new_tokens": 12,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "eos_token_ids": (EOS,),
        "pad_token_id": PAD,
    }
    return SamplingSettings(**{**chosen, **changes})


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32).eval()
    # Weights as small as a fresh model's make every token about equally likely; these make it prefer some.
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    return model


def test_greedy_answers_are_those_of_transformers_generate(model: PreTrainedModel) -> None:
    ours = sample_groups(model, PROMPTS, 1, settings(temperature=0.0))
    for prompt, group in zip(PROMPTS, ours, strict=True):
        theirs = model.generate(  # type: ignore[operator]
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            generation_config=GenerationConfig(
                do_sample=False, max_new_tokens=12, eos_token_id=EOS, pad_token_id=PAD, bos_token_id=None
            ),
        )
        assert list(group[0].token_ids) == theirs[0, len(prompt) :].tolist()


def test_answers_that_end_early_leave_the_others_as_they_would_have_been(model: PreTrainedModel) -> None:
    free = sample_groups(model, PROMPTS, 1, settings(temperature=0.0))
    # Make a token that the first answer contains, and no other before its end, the one that ends answers.
    ending = next(token for token in free[0][0].token_ids if token not in free[1][0].token_ids)
    cut = sample_groups(model, PROMPTS, 1, settings(temperature=0.0, eos_token_ids=(ending,)))
    position = free[0][0].token_ids.index(ending)
    assert cut[0][0].token_ids == free[0][0].token_ids[: position + 1]
    assert cut[0][0].ended
    assert cut[1][0].token_ids == free[1][0].token_ids


def test_an_answer_at_the_length_limit_has_not_ended(model: PreTrainedModel) -> None:
    (group,) = sample_groups(model, [PROMPTS[0]], 2, settings(max_new_tokens=3, eos_token_ids=(10**6,)))
    assert [len(answer.token_ids) for answer in group] == [3, 3]
    assert not any(answer.ended for answer in group)


def test_logprobs_are_the_models_own(model: PreTrainedModel) -> None:
    torch.manual_seed(1)
    for prompt, group in zip(PROMPTS, sample_groups(model, PROMPTS, 3, settings(temperature=0.7)), strict=True):
        for answer in group:
            ids = torch.tensor([[*prompt, *answer.token_ids]])
            logits = model(ids).logits[0, len(prompt) - 1 : -1] / 0.7
            expected = logits.log_softmax(-1).gather(1, torch.tensor(answer.token_ids)[:, None]).squeeze(1)
            assert torch.allclose(torch.tensor(answer.logprobs), expected, atol=1e-4)


def test_first_tokens_are_drawn_with_the_models_probabilities(model: PreTrainedModel) -> None:
    torch.manual_seed(2)
    draws = 4000
    (group,) = sample_groups(model, [PROMPTS[0]], draws, settings(max_new_tokens=1))
    counts = torch.bincount(torch.tensor([answer.token_ids[0] for answer in group]), minlength=model.config.vocab_size)
    expected = model(torch.tensor([PROMPTS[0]])).logits[0, -1].softmax(-1)
    # The standard deviation of a frequency is sqrt(p (1 - p) / n); five of them leave no room for chance.
    error = (expected * (1 - expected) / draws).sqrt()
    assert ((counts / draws - expected).abs() <= 5 * error + 1e-3).all()


def test_top_k_of_one_is_greedy(model: PreTrainedModel) -> None:
    greedy = sample_groups(model, PROMPTS, 2, settings(temperature=0.0))
    narrow = sample_groups(model, PROMPTS, 2, settings(top_k=1))
    assert [[a.token_ids for a in group] for group in narrow] == [[a.token_ids for a in group] for group in greedy]


def test_the_lowest_number_drawn_does_not_mean_a_token_of_probability_zero(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = sample_groups(model, PROMPTS, 1, settings(temperature=0.0))
    monkeypatch.setattr(torch, "rand", torch.zeros)
    assert sample_groups(model, PROMPTS, 1, settings(top_k=1))[0][0].token_ids == greedy[0][0].token_ids


def test_the_highest_number_drawn_does_not_mean_one_either(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    highest = 1 - 2**-24  # what torch.rand gives at most; rounded probabilities may well add up to less
    monkeypatch.setattr(torch, "rand", lambda *size, **options: torch.full(size, highest, **options))
    for top_k in range(2, 60):
        for (answer,) in sample_groups(model, PROMPTS, 1, settings(top_k=top_k, max_new_tokens=1)):
            assert answer.logprobs[0] > -60


def test_top_p_never_draws_outside_the_nucleus(model: PreTrainedModel) -> None:
    torch.manual_seed(3)
    (group,) = sample_groups(model, [PROMPTS[1]], 500, settings(max_new_tokens=1, top_p=0.3))
    probabilities, order = model(torch.tensor([PROMPTS[1]])).logits[0, -1].softmax(-1).sort(descending=True)
    nucleus = set(order[: int((probabilities.cumsum(0) < 0.3).sum()) + 1].tolist())
    assert {answer.token_ids[0] for answer in group} <= nucleus

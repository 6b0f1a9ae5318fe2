"""Both samplers speak for the same model, and the private TRL call that one of them uses has the shape we rely on."""

from __future__ import annotations

import copy

import pytest
import torch

from rgym_exp.training.samplers import InferenceCopy, SharedPrefillSampler, TrlSampler
from rgym_exp.training.sampling import SamplingSettings
from tests.unit.training.conftest import MakeTrainer, model_of

PROMPTS = [[5, 6, 7, 8, 9], [20, 21]]


def settings_of(trainer: object, **changes: object) -> SamplingSettings:
    chosen: dict = {
        "max_new_tokens": 5,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "eos_token_ids": tuple(trainer.eos_token_ids),  # type: ignore[attr-defined]
        "pad_token_id": 256,
    }
    return SamplingSettings(**{**chosen, **changes})


def test_trls_private_generation_still_has_the_shape_that_we_use(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    model_of(trainer).eval()
    answers = TrlSampler(trainer).sample(PROMPTS, 3)
    assert [len(group) for group in answers] == [3, 3]
    for group in answers:
        for answer in group:
            assert 1 <= len(answer.token_ids) <= 5
            assert answer.ended == (answer.token_ids[-1] in trainer.eos_token_ids)


def test_greedy_answers_do_not_depend_on_the_sampler(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    ours = SharedPrefillSampler(InferenceCopy(model_of(trainer), torch.float32), settings_of(trainer))
    theirs = TrlSampler(trainer)
    assert [[a.token_ids for a in g] for g in ours.sample(PROMPTS, 1, greedy=True)] == [
        [a.token_ids for a in g] for g in theirs.sample(PROMPTS, 1, greedy=True)
    ]


def test_sampling_leaves_the_model_in_training_mode(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    model_of(trainer).train()
    SharedPrefillSampler(InferenceCopy(model_of(trainer), torch.float32), settings_of(trainer)).sample(PROMPTS, 2)
    assert model_of(trainer).training


def test_the_bf16_copy_follows_every_update(make_trainer: MakeTrainer) -> None:
    model = copy.deepcopy(model_of(make_trainer()))
    inference = InferenceCopy(model, torch.bfloat16)
    with torch.no_grad():
        model.lm_head.weight.add_(1.0)
    inference.refresh()
    copied = dict(inference.model.named_parameters())
    for name, weight in model.named_parameters():
        assert torch.equal(copied[name], weight.to(torch.bfloat16)), name
    assert model.lm_head.weight.dtype == torch.float32


class TightMemory(torch.nn.Module):
    """A model that runs out of memory, as PyTorch does, with more than one prompt at once."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.config = model, model.config

    def forward(self, **inputs: object) -> object:
        ids = inputs["input_ids"]
        assert isinstance(ids, torch.Tensor)
        if ids.size(1) > 1 and ids.size(0) > 1:
            raise torch.OutOfMemoryError("tried to allocate too much")
        return self.inner(**inputs)


def test_out_of_memory_while_sampling_halves_the_batch_and_remembers(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    whole = SharedPrefillSampler(InferenceCopy(model_of(trainer), torch.float32), settings_of(trainer))
    inference = InferenceCopy(model_of(trainer), torch.float32)
    inference.model = TightMemory(model_of(trainer))
    inference._source = inference.model  # type: ignore[assignment]
    tight = SharedPrefillSampler(inference, settings_of(trainer))
    answers = [row for prompt in tight.sample(PROMPTS, 1, greedy=True) for row in prompt]
    expected = [row for prompt in whole.sample(PROMPTS, 1, greedy=True) for row in prompt]
    assert [row.token_ids for row in answers] == [row.token_ids for row in expected]
    # Another batch size may take another kernel, and so round differently.
    for row, same in zip(answers, expected, strict=True):
        assert row.logprobs == pytest.approx(same.logprobs, abs=1e-5)
    assert tight._prompts_at_once == 1

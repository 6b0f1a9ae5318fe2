"""Messages between the ranks of a peer arrive as they were sent."""

from __future__ import annotations

import math

import pytest
import torch

from rgym_exp.training.orders import AddGradients, Answers, PartOfGradient, TakeGradient, decode, encode
from rgym_exp.training.sampling import SampledTokens


def test_a_batch_arrives_with_its_types_shapes_and_nans() -> None:
    batch = {
        "ids": torch.arange(6).view(2, 3),
        "every_other": torch.arange(6.0).view(2, 3)[:, ::2],
        "mask": torch.tensor([True, False]),
        "nan": torch.tensor([math.nan, 1.5]),
        "count": torch.tensor(7),
    }
    arrived = decode(encode(TakeGradient(groups=[2, 0], batch=batch)))
    assert isinstance(arrived, TakeGradient) and arrived.groups == [2, 0]
    for key, tensor in batch.items():
        assert arrived.batch[key].dtype == tensor.dtype
        assert torch.equal(arrived.batch[key].nan_to_num(-1.0), tensor.nan_to_num(-1.0))


def test_answers_arrive_exactly() -> None:
    answers = [[SampledTokens(token_ids=(1, 2), logprobs=(-0.1, -1e-30), ended=True)], []]
    assert decode(encode(Answers.of(answers))).tokens() == answers


def test_metrics_and_orders_without_fields_arrive() -> None:
    assert decode(encode(PartOfGradient(loss=0.5, metrics={"entropy": [1.0, 2.0]}))).metrics == {"entropy": [1.0, 2.0]}
    assert decode(encode(AddGradients())) == AddGradients()


def test_nothing_but_plain_values_and_tensors_travels() -> None:
    with pytest.raises(TypeError, match="plain values and tensors"):
        encode(PartOfGradient(loss=object(), metrics={}))  # type: ignore[arg-type]

"""What rank 0 tells the other ranks of its peer, and what they answer. Plain values and tensors; no code travels."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import msgpack
import safetensors.torch
from torch import Tensor

from rgym_exp.training.policy import Chat
from rgym_exp.training.sampling import SampledTokens

_TENSOR = 1
_NAME = "tensor"


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """Load the model and get ready; answered by ``Ready``. The fields are ``build_learner``'s."""

    config: dict[str, Any]
    """``TrainingConfig``'s fields."""
    device: str
    """cpu, cuda or mps."""
    model_name: str
    max_completion_length: int
    sample_chats: list[Chat]


@dataclass(frozen=True, kw_only=True)
class TakeWeights:
    """Take part in the broadcast of the trained weights. No answer."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Answer these prompts with the weights as they are; answered by ``Answers``."""

    prompts: list[list[int]]
    copies: int
    greedy: bool
    seed: int
    """For the random numbers of this call."""


@dataclass(frozen=True, kw_only=True)
class TakeGradient:
    """Compute the gradient of some groups of a batch; answered by ``PartOfGradient``."""

    groups: list[int]
    """Indices of this rank's groups; may be empty."""
    batch: dict[str, Tensor]
    """The whole batch, since the loss divides by its size."""


@dataclass(frozen=True, kw_only=True)
class AddGradients:
    """Take part in adding up all ranks' gradients at rank 0. No answer."""


@dataclass(frozen=True, kw_only=True)
class End:
    """The peer is leaving. No answer."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The model is loaded."""

    trained_parameters: int


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Sampled answers: ``[prompts][copies]`` of (ids, log-probabilities, ended)."""

    rows: list[list[tuple[list[int], list[float], bool]]]

    @classmethod
    def of(cls, answers: list[list[SampledTokens]]) -> Answers:
        """From what a sampler returns."""
        return cls(rows=[[(list(a.token_ids), list(a.logprobs), a.ended) for a in group] for group in answers])

    def tokens(self) -> list[list[SampledTokens]]:
        """What the sampler had returned."""
        return [
            [SampledTokens(token_ids=tuple(ids), logprobs=tuple(logs), ended=ended) for ids, logs, ended in group]
            for group in self.rows
        ]


@dataclass(frozen=True, kw_only=True)
class PartOfGradient:
    """The gradient is taken and kept for ``AddGradients``."""

    loss: float
    """This part's share of the batch's loss."""
    metrics: dict[str, list[float]]
    """TRL's metrics of the passes made."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """An order could not be carried out."""

    why: str


Order = SetUp | TakeWeights | Sample | TakeGradient | AddGradients | End
Reply = Ready | Answers | PartOfGradient | Failed
Message = Order | Reply

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (SetUp, TakeWeights, Sample, TakeGradient, AddGradients, End, Ready, Answers, PartOfGradient, Failed)
}


def encode(message: Message) -> bytes:
    """An order or a reply as bytes."""
    values = {field.name: getattr(message, field.name) for field in fields(message)}
    return bytes(msgpack.packb([type(message).__name__, values], default=_pack_tensor))


def decode(data: bytes | memoryview) -> Any:
    """What ``encode`` was given; tensors are on the CPU."""
    kind, values = msgpack.unpackb(data, ext_hook=_unpack_tensor, strict_map_key=False)
    return _KINDS[kind](**values)


def _pack_tensor(value: Any) -> msgpack.ExtType:
    if not isinstance(value, Tensor):
        raise TypeError(f"Only plain values and tensors travel between ranks, not {type(value).__name__}.")
    return msgpack.ExtType(_TENSOR, safetensors.torch.save({_NAME: value.detach().cpu().contiguous()}))


def _unpack_tensor(code: int, data: bytes) -> Tensor:
    if code != _TENSOR:
        raise ValueError(f"Unknown kind {code} of value between ranks.")
    return safetensors.torch.load(data)[_NAME]

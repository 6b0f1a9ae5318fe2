"""One peer's work dealt to its ranks: every rank samples some of the answers and computes some groups' gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from rgym_exp.config.schema import TrainingConfig
from rgym_exp.training.build import Learner, build_learner
from rgym_exp.training.hardware import Hardware
from rgym_exp.training.helpers import HelperFailed, HelperRanks
from rgym_exp.training.orders import Sample, SetUp, TakeGradient
from rgym_exp.training.policy import Chat, ChatPolicy, Sampler
from rgym_exp.training.samplers import SharedPrefillSampler
from rgym_exp.training.sampling import SampledTokens
from rgym_exp.training.trainer import Batch, SwarmTrainer


def build_split_learner(
    helpers: HelperRanks,
    config: TrainingConfig,
    hardware: Hardware,
    *,
    model_name: str,
    max_completion_length: int,
    sample_chats: Sequence[Chat],
    **rest: Any,
) -> Learner:
    """``build_learner`` on every rank; what it returns deals its work out to all of them.

    Raises:
        HelperFailed: another rank could not get ready, or loaded another model.
    """
    order = SetUp(
        config=asdict(config),
        device=hardware.device,
        model_name=model_name,
        max_completion_length=max_completion_length,
        sample_chats=list(sample_chats),
    )
    ready = helpers.set_up(order)
    learner = build_learner(
        config,
        hardware,
        model_name=model_name,
        max_completion_length=max_completion_length,
        sample_chats=sample_chats,
        **rest,
    )
    trainer = learner.trainer
    trained = sum(weight.numel() for weight in trainer.trained_weights())
    if any(reply.trained_parameters != trained for reply in ready.result()):
        raise HelperFailed(f"The processes of this peer loaded different models as {model_name}. Check their folders.")
    helpers.use(hardware.device)
    trainer.gradient = SplitGradient(helpers)
    if not isinstance(learner.sampler, SharedPrefillSampler):
        # TRL's own generation, vLLM's above all, has a schedule of its own: it stays on rank 0.
        return learner
    sampler = SplitSampler(learner.sampler, helpers, trainer)
    return replace(learner, sampler=sampler, policy=ChatPolicy(learner.tokens, sampler, learner.policy.model_name))


class SplitGradient:
    """The gradient of a batch, its groups dealt to the ranks in turn.

    Every rank sees the whole batch, so each group's loss is divided by what one process alone would divide by, and the
    sum over ranks is that process's gradient.
    """

    def __init__(self, helpers: HelperRanks) -> None:
        self._helpers = helpers

    def __call__(self, trainer: SwarmTrainer, model: nn.Module, batch: Batch, groups: list[int]) -> Tensor:
        """See ``SwarmTrainer.gradient``."""
        size = self._helpers.size
        weights = trainer.trained_weights()
        self._helpers.bring_up_to_date(weights, trainer.weights_version)
        tensors = {key: value for key, value in batch.items() if isinstance(value, Tensor)}
        others = self._helpers.ask(
            [TakeGradient(groups=groups[rank::size], batch=tensors) for rank in range(1, size)],
        )
        loss = trainer.take_gradient(model, batch, groups[::size])
        for part in others.result():
            loss = loss + part.loss
            trainer.add_metrics(part.metrics)
        self._helpers.add_gradients(gradients_of(weights))
        return loss


class SplitSampler:
    """Samples on every rank at once."""

    def __init__(self, own: Sampler, helpers: HelperRanks, trainer: SwarmTrainer) -> None:
        self._own = own
        self._helpers = helpers
        self._trainer = trainer

    def sample(
        self, prompts: Sequence[Sequence[int]], copies: int, *, greedy: bool = False
    ) -> list[list[SampledTokens]]:
        """See ``Sampler.sample``."""
        self._helpers.bring_up_to_date(self._trainer.trained_weights(), self._trainer.weights_version)
        parts = deal(len(prompts), copies, self._helpers.size)
        # Drawn from this rank's random state, which checkpoints keep.
        seed = int(torch.randint(2**31, ()))
        others = self._helpers.ask(
            [
                Sample(
                    prompts=[list(prompts[index]) for index in part.prompts],
                    copies=part.copies,
                    greedy=greedy,
                    seed=seed + rank,
                )
                for rank, part in enumerate(parts[1:], start=1)
            ]
        )
        mine = parts[0]
        own = self._own.sample([prompts[index] for index in mine.prompts], mine.copies, greedy=greedy)
        answers: list[list[SampledTokens]] = [[] for _ in prompts]
        for part, rows in zip(parts, [own, *(reply.tokens() for reply in others.result())], strict=True):
            for index, row in zip(part.prompts, rows, strict=True):
                answers[index].extend(row)
        return answers

    def score(self, prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float]:
        """See ``Sampler.score``. By this rank alone: dealing out one short pass would take longer than making it."""
        return self._own.score(prompt, answers)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One rank's part of a sampling call."""

    prompts: tuple[int, ...]
    """Indices; none when there is nothing left for this rank."""
    copies: int
    """Answers to each of them."""


def deal(prompts: int, copies: int, size: int) -> list[Part]:
    """Deal ``copies`` answers to each of ``prompts`` prompts to ``size`` ranks: whole prompts where these go round
    evenly or there are too few copies to deal, else some copies of every prompt. Rank 0 always has a part."""
    if prompts % size == 0 or copies < size:
        return [Part(prompts=tuple(range(rank, prompts, size)), copies=copies) for rank in range(size)]
    share, more = divmod(copies, size)
    return [Part(prompts=tuple(range(prompts)), copies=share + (rank < more)) for rank in range(size)]


def gradients_of(weights: Sequence[Tensor]) -> list[Tensor]:
    """Every weight's gradient; zeros where a rank had nothing to do, since all must bring the same shapes."""
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    return [weight.grad for weight in weights if weight.grad is not None]

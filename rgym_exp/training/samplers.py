"""The two ways to sample: our shared prefill on a copy for inference, and TRL's own generation (vLLM included)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel
from trl import GRPOTrainer

from rgym_exp.training.answer_scores import score_answers
from rgym_exp.training.out_of_memory import halve_until_it_fits
from rgym_exp.training.sampling import SampledTokens, SamplingSettings, evaluating, sample_groups


class InferenceCopy:
    """The policy as generation uses it: the model itself, or a bf16 copy of it that follows every update.

    The training model keeps fp32 master weights; generating through autocast would cast all of them for every single
    token. Take the copy before TRL patches the model's forward, which a copy would share.
    """

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        self._source = model
        self.model: nn.Module = model
        if model.dtype != dtype:
            # The copy's weights go on requiring gradients, though none is ever taken: without, PyTorch multiplies the
            # last positions of a batch by one copy of the output matrix per row, gigabytes of them.
            self.model = copy.deepcopy(model).eval()
            # Weights only: buffers such as the rotary embedding's frequencies lose positions in fewer digits.
            for weight in self.model.parameters():
                weight.data = weight.data.to(dtype)

    def refresh(self) -> None:
        """Take over the source's weights as they are now."""
        if self.model is self._source:
            return
        with torch.no_grad():
            for target, source in zip(self.model.parameters(), self._source.parameters(), strict=True):
                # Frozen weights (the base under LoRA) never change.
                if source.requires_grad:
                    target.copy_(source)


class SharedPrefillSampler:
    """Every prompt computed once, answers that ended leave the batch (``sampling.py``)."""

    def __init__(self, inference: InferenceCopy, settings: SamplingSettings) -> None:
        self._inference = inference
        self._settings = settings
        self._prompts_at_once: int | None = None

    def sample(
        self, prompts: Sequence[Sequence[int]], copies: int, *, greedy: bool = False
    ) -> list[list[SampledTokens]]:
        """See ``Sampler.sample``."""
        self._inference.refresh()
        model = self._inference.model
        settings = replace(self._settings, temperature=0.0) if greedy else self._settings

        def run(at_once: int) -> list[list[SampledTokens]]:
            chunks = [prompts[start : start + at_once] for start in range(0, len(prompts), at_once)]
            return [group for chunk in chunks for group in sample_groups(model, chunk, copies, settings)]

        wanted = min(self._prompts_at_once or len(prompts), len(prompts))
        with evaluating(model):
            answers, fitted = halve_until_it_fits(wanted, run, "prompts")
        if fitted < wanted:
            self._prompts_at_once = fitted
        return answers

    def score(self, prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float]:
        """See ``Sampler.score``."""
        self._inference.refresh()
        with evaluating(self._inference.model):
            return score_answers(self._inference.model, prompt, answers)


class TrlSampler:
    """TRL's own generation: transformers or vLLM, whichever the trainer was told to use.

    Args:
        repeats_cache: whether the model's cache of a prompt can be repeated (``Abilities.shares_prefill``).
    """

    def __init__(self, trainer: GRPOTrainer, *, repeats_cache: bool = True) -> None:
        self._trainer = trainer
        self._repeats_cache = repeats_cache

    def sample(
        self, prompts: Sequence[Sequence[int]], copies: int, *, greedy: bool = False
    ) -> list[list[SampledTokens]]:
        """See ``Sampler.sample``. Greedy answers need transformers' generation; vLLM draws its own."""
        repeated = [list(ids) for ids in prompts for _ in range(copies)]
        # The one call that covers both backends. It is private: `trl` is pinned to a minor version, and a
        # contract test holds its shape.
        ids, logprobs = self._generate(repeated, copies, greedy)
        eos = set(self._trainer.eos_token_ids)
        answers = [
            SampledTokens(
                token_ids=tuple(row),
                logprobs=tuple(logprobs[index]) if logprobs is not None else (),
                ended=bool(row) and row[-1] in eos,
            )
            for index, row in enumerate(ids)
        ]
        return [answers[start : start + copies] for start in range(0, len(answers), copies)]

    def score(self, prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float]:
        """See ``Sampler.score``. By the model that is trained: neither backend tells what we ask for."""
        model = cast(PreTrainedModel, self._trainer.model)
        with evaluating(model), self._trainer.accelerator.autocast():
            return score_answers(model, prompt, answers, repeats_cache=self._repeats_cache)

    def _generate(
        self, prompts: list[list[int]], copies: int, greedy: bool
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        trainer = self._trainer
        if not greedy or trainer.use_vllm:
            return trainer._generate_single_turn(prompts, None, {}, copies)
        sampling = trainer.generation_config
        trainer.generation_config = copy.deepcopy(sampling)
        trainer.generation_config.do_sample = False
        try:
            return trainer._generate_single_turn(prompts, None, {}, copies)
        finally:
            trainer.generation_config = sampling

"""TRL's GRPOTrainer with a swarm as its rollout function.

TRL owns advantages, loss, clipping, optimizer and resume. Overridden here, each for one reason:

* ``_get_per_token_logps_and_entropies``: a group's prompt is computed once (``packing.py``);
* ``_generate_and_score_completions``: carries to the loss which rows are external, and how sure their senders were;
* ``_prepare_inputs``: keeps the rows of a group together, where TRL shuffles them;
* ``_compute_loss``: takes the log-probabilities of sampling for the old ones, weighs external groups, when asked to,
  and keeps what they weighed;
* ``training_step``: goes through the batch in parts that fit memory, leaves out zero-advantage groups, and skips a
  step whose gradient isn't finite;
* ``_load_optimizer_and_scheduler``: goes on with the learning rate that is configured now;
* ``log``: says how the external weights were spread, where TRL would log their mean alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel
from trl import GRPOTrainer

from rgym_exp.training.finite import StepGuard
from rgym_exp.training.out_of_memory import halve_until_it_fits
from rgym_exp.training.packing import enable_packing, pack_groups, packed_log_probs
from rgym_exp.training.rollout import EXTERNAL_WEIGHT, Rollout, external_weights, weight_statistics

Batch = dict[str, Any]
Gradient = Callable[["SwarmTrainer", nn.Module, Batch, list[int]], Tensor]
"""Leaves a batch's gradient in the weights and returns its loss: (trainer, model, batch, groups with an advantage)."""

# TRL divides these losses by the tokens of the whole batch, so that parts of it simply add up.
_NORMALISED_OVER_THE_BATCH = frozenset({"dapo", "cispo", "vespo"})


def swarm_reward(completions: list[Any], reward: list[float], **_: Any) -> list[float]:
    """TRL's reward function: the rewards that the scoring sandbox gave, which travel with the rollout."""
    return reward


class SwarmTrainer(GRPOTrainer):
    """GRPO on the groups that ``play`` returns, one optimizer step per call.

    Args:
        play: called once per step; returns the rows of the whole batch.
        groups_at_once: groups per forward and backward pass; halved after an out-of-memory error.
        shared_prompt: compute each group's prompt once, where the model's attention allows it.
        weigh_external: weight external groups (``external_weights``) instead of trusting all alike.
        steps_per_round: optimizer steps on each batch; to TRL all of them are one.
        kwargs: GRPOTrainer's own.
    """

    def __init__(
        self,
        *,
        play: Callable[[], Rollout],
        groups_at_once: int,
        shared_prompt: bool,
        weigh_external: bool,
        steps_per_round: int = 1,
        **kwargs: Any,
    ) -> None:
        self._play = play
        self._rollout: Rollout | None = None
        self.groups_at_once = groups_at_once
        self._weigh_external = weigh_external
        self._steps_per_round = steps_per_round
        self._steps_made = 0
        """Of this round's."""
        self.gradient: Gradient = SwarmTrainer.take_gradient
        """How a batch's gradient is taken: here, or by several processes (``split.py``)."""
        self._done: tuple[Tensor, Tensor | None, Tensor | None] | None = None
        self._weights: list[float] = []
        self.guard = StepGuard()
        """Skips steps whose gradient isn't finite."""
        # Any, since TRL writes down narrower types for its hooks than it takes.
        hooks: dict[str, Any] = {"reward_funcs": swarm_reward, "rollout_func": _rollout_func}
        super().__init__(**hooks, **kwargs)
        self._packs = shared_prompt and enable_packing(self._policy)
        self._group_size = int(kwargs["args"].num_generations)

    @property
    def _policy(self) -> PreTrainedModel:
        return cast(PreTrainedModel, self.model)

    def play_step(self) -> dict[str, Any]:
        """Play the round and hand its rows to TRL."""
        self._rollout = self._play()
        return {
            "prompt_ids": self._rollout.prompt_ids,
            "completion_ids": self._rollout.completion_ids,
            "logprobs": self._rollout.logprobs,
            "reward": self._rollout.rewards,
        }

    def begin_after(self, step: int) -> None:
        """Have the run's rounds counted from this step, that of the checkpoint to resume from; called before training.

        TRL counts steps since the model's first, across resumes.
        """
        self.args.max_steps += step

    @property
    def weights_version(self) -> int:
        """A number that is another one after every optimizer step."""
        return self.state.global_step * self._steps_per_round + self._steps_made

    def trained_weights(self) -> list[nn.Parameter]:
        """The weights that the optimizer changes, in the same order in every process."""
        return [weight for weight in self._policy.parameters() if weight.requires_grad]

    def get_ready_without_training(self) -> nn.Module:
        """What ``train`` does before its first step, for a process that only takes gradients.

        Returns:
            the policy, prepared for ``take_gradient``.
        """
        if self.args.activation_checkpointing:
            self._policy.activation_checkpointing_enable()
        self.current_gradient_accumulation_steps = self.args.gradient_accumulation_steps
        prepared: nn.Module = self.accelerator.prepare_model(self._policy)
        return prepared.train()

    def take_metrics(self) -> dict[str, list[float]]:
        """TRL's metrics since the last call."""
        metrics = {name: [float(value) for value in values] for name, values in self._metrics["train"].items()}
        self._metrics["train"].clear()
        return metrics

    def add_metrics(self, metrics: dict[str, list[float]]) -> None:
        """Metrics of passes that another process made; TRL logs the mean of all."""
        for name, values in metrics.items():
            self._metrics["train"][name].extend(values)

    def write_checkpoint(self, folder: Path) -> Path:
        """Write weights, optimizer, random state and step count below ``folder``; returns the folder written.

        Raises NotFinite: the weights or the last gradients aren't; nothing is written.
        """
        self.guard.require_sound(self._policy)
        self.args.output_dir = str(folder)
        with _under_names_in_memory(self._policy):
            # GRPOTrainer's own method only adds a model card.
            super(GRPOTrainer, self)._save_checkpoint(self._policy, trial=None)
        return folder / f"checkpoint-{self.state.global_step}"

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """As the Trainer does, save that a learning rate that was changed since the checkpoint holds from now on."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        optimizer, scheduler = cast(Any, self.optimizer), cast(Any, self.lr_scheduler)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] = self.args.learning_rate
        # The schedule is constant: each step sets what is noted here.
        scheduler.base_lrs = [self.args.learning_rate for _ in scheduler.base_lrs]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's log line, with statistics of the external weights: a mean of all metrics would hide the smallest."""
        statistics = weight_statistics(self._metrics["train"].pop(EXTERNAL_WEIGHT, []))
        logs.update({f"{EXTERNAL_WEIGHT}/{name}": number for name, number in statistics.items()})
        super().log(logs, start_time)

    def write_model(self, folder: Path) -> None:
        """Write what ``from_pretrained`` needs into ``folder``: weights, generation settings, tokenizer.

        The weights are fp32; under LoRA they are the adapters' alone.

        Raises:
            OSError, SafetensorError, RuntimeError: it can't be written, e.g. on a full disk.
            NotFinite: the weights or the last gradients aren't; nothing is written.
        """
        self.guard.require_sound(self._policy)
        self._policy.save_pretrained(str(folder))
        if self.processing_class is not None:
            self.processing_class.save_pretrained(str(folder))

    def _generate_and_score_completions(self, inputs: list[Batch]) -> Batch:
        batch = super()._generate_and_score_completions(inputs)
        if self._rollout is not None:
            batch["sender_mean_logprobs"] = torch.tensor(self._rollout.sender_mean_logprobs, device=self.args.device)
            batch["external"] = torch.tensor(self._rollout.external, device=self.args.device)
        if "old_per_token_logps" not in batch:  # With vLLM TRL has made its own.
            batch["old_per_token_logps"] = self._log_probs_of_sampling(batch)
        return batch

    def _log_probs_of_sampling(self, batch: Batch) -> Tensor:
        """``[B, C]``: what each token's log-probability was when it was sampled; NaN where nobody knows."""
        known = batch.get("sampling_per_token_logps")
        # What top-k and top-p left over was scaled up: of such a distribution the policy has no ratio.
        whole = self.top_k == 0 and self.top_p == 1.0
        if known is None or not whole:
            return torch.full(batch["completion_ids"].shape, torch.nan, device=self.args.device)
        return known.masked_fill(batch["external"][:, None], torch.nan)

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        return self._generate_and_score_completions(generation_batch)

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """One optimizer step's forward and backward passes; returns the loss of the whole batch."""
        model.train()
        batch = self._prepare_inputs(inputs)
        groups = self._groups_with_advantage(batch)
        if self._steps_per_round > 1:
            self._complete_old_log_probs(model, batch, groups)
        for _ in range(self._steps_per_round - 1):
            self.gradient(self, model, batch, groups)
            self.guard.check(self._policy, self.trained_weights())
            self._make_step(model)
        loss = self.gradient(self, model, batch, groups)
        self.guard.check(self._policy, self.trained_weights())
        # The last step is made by the loop of transformers, which counts it.
        self._steps_made = 0
        self._step += 1
        return loss

    def _make_step(self, model: nn.Module) -> None:
        if self.args.max_grad_norm > 0:
            self.accelerator.clip_grad_norm_(model.parameters(), self.args.max_grad_norm)
        assert self.optimizer is not None, "training has begun"
        self.optimizer.step()
        model.zero_grad(set_to_none=True)
        self._steps_made += 1

    @torch.no_grad()
    def _complete_old_log_probs(self, model: nn.Module, batch: Batch, groups: list[int]) -> None:
        """Where nobody knows the old log-probabilities, take the policy's own before the round's first step."""
        old = batch["old_per_token_logps"]

        def run(groups_at_once: int) -> None:
            for start in range(0, len(groups), groups_at_once):
                rows = self._rows(groups[start : start + groups_at_once])
                if old[rows].isnan().any():
                    own = self._log_probs(model, self._rows_of(batch, groups[start : start + groups_at_once]))[0]
                    old[rows] = torch.where(old[rows].isnan(), own.to(old.dtype), old[rows])

        _, self.groups_at_once = halve_until_it_fits(self.groups_at_once, run, "groups")

    def take_gradient(self, model: nn.Module, batch: Batch, groups: list[int]) -> Tensor:
        """Leave the gradient of these groups' part of the batch's loss in the weights; returns that part.

        Args:
            model: the policy, as it was prepared for training.
            groups: indices; none leave no gradient and a loss of 0.
        """

        def run(groups_at_once: int) -> Tensor:
            # After an out-of-memory error the parts done so far are done again.
            model.zero_grad(set_to_none=True)
            self._done = None
            self._weights.clear()
            return self._backward_in_parts(model, batch, groups, groups_at_once)

        loss, self.groups_at_once = halve_until_it_fits(self.groups_at_once, run, "groups")
        self._metrics["train"][EXTERNAL_WEIGHT].extend(self._weights)
        return loss

    def _groups_with_advantage(self, batch: Batch) -> list[int]:
        """Indices of the groups with an advantage. One without has a gradient of exactly 0, save for a KL term."""
        advantages = batch["advantages"].view(-1, self._group_size)
        everything = list(range(advantages.size(0)))
        if self.beta != 0.0 or self._entropy_bonus_enabled:
            return everything
        return advantages.ne(0).any(dim=1).nonzero().flatten().tolist() or everything[:1]

    def _backward_in_parts(self, model: nn.Module, batch: Batch, groups: list[int], at_once: int) -> Tensor:
        total = torch.zeros((), device=self.args.device)
        for start in range(0, len(groups), at_once):
            part = self._rows_of(batch, groups[start : start + at_once])
            with self.compute_loss_context_manager():
                loss = self.compute_loss(model, part) * self._share_of_loss(part, batch)
            self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _rows_of(self, batch: Batch, groups: list[int]) -> Batch:
        rows = batch["advantages"].size(0)
        index = self._rows(groups)
        return {
            key: value[index] if isinstance(value, Tensor) and value.dim() > 0 and value.size(0) == rows else value
            for key, value in batch.items()
        }

    def _rows(self, groups: list[int]) -> Tensor:
        rows = [group * self._group_size + row for group in groups for row in range(self._group_size)]
        return torch.tensor(rows, device=self.args.device)

    def _share_of_loss(self, part: Batch, batch: Batch) -> Tensor | float:
        """What a part's mean must be multiplied by so that the parts add up to the batch's loss."""
        if self.loss_type in _NORMALISED_OVER_THE_BATCH:
            return 1.0
        if self.loss_type == "bnpo":
            return part["completion_mask"].sum() / batch["completion_mask"].sum().clamp(min=1)
        return part["advantages"].size(0) / batch["advantages"].size(0)

    def _compute_loss(self, model: nn.Module, inputs: Batch) -> Tensor:
        external, old = inputs["external"], inputs["old_per_token_logps"]
        # Weights and unknown old log-probs need those of this very pass: make it here and let TRL's loss find it done.
        done = self._log_probs(model, inputs)
        self._done = done
        inputs = {**inputs, "old_per_token_logps": torch.where(old.isnan(), done[0].detach().to(old.dtype), old)}
        if not self._weigh_external:
            self._weights += [1.0] * int(external.sum())
            return super()._compute_loss(model, inputs)
        completion_mask = inputs["completion_mask"]
        mean = (done[0].detach() * completion_mask).sum(dim=1) / completion_mask.sum(dim=1).clamp(min=1)
        weights = external_weights(mean, inputs["sender_mean_logprobs"])
        self._weights += weights[external].tolist()
        # A positive weight on the advantage is one on the clipped loss: min(r wA, clip(r) wA) = w min(r A, clip(r) A).
        return super()._compute_loss(model, {**inputs, "advantages": inputs["advantages"] * weights})

    def _log_probs(self, model: nn.Module, rows: Batch) -> tuple[Tensor, Tensor | None, Tensor | None]:
        ids = torch.cat([rows["prompt_ids"], rows["completion_ids"]], dim=1)
        mask = torch.cat([rows["prompt_mask"], rows["completion_mask"]], dim=1)
        keep = rows["completion_ids"].size(1)
        return self._get_per_token_logps_and_entropies(model, ids, mask, keep, compute_entropy=True)

    def _get_per_token_logps_and_entropies(
        self,
        model: nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if self._done is not None:
            done, self._done = self._done, None
            return done
        # Asked without gradient by TRL for a reference model, which is not the one that was prepared for packing.
        if not self._packs or model is self.ref_model:
            # For the reference TRL would take the whole batch at once.
            batch_size = min(batch_size or input_ids.size(0), self.groups_at_once * self._group_size)
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **kwargs
            )
        packed = pack_groups(input_ids, attention_mask, logits_to_keep, self._group_size)
        with self.accelerator.autocast():
            log_probs, entropies = packed_log_probs(model, packed, self.temperature)
        return log_probs, entropies if compute_entropy else None, None


@contextmanager
def _under_names_in_memory(policy: PreTrainedModel) -> Iterator[None]:
    """Have the weights written under the names that they have here, for the Trainer loads a checkpoint by these.

    ``save_pretrained`` writes those of the model hub, where experts, for one, are weights of their own: the Trainer
    would leave them as they are, without a word.
    """
    if isinstance(policy, PeftModel):
        yield
        return
    named: Any = policy
    named.save_pretrained = partial(policy.save_pretrained, save_original_format=False)
    try:
        yield
    finally:
        del named.save_pretrained


def _rollout_func(prompts: list[Any], trainer: SwarmTrainer) -> dict[str, Any]:
    """TRL's hook. The prompts are placeholders: a round brings its own."""
    return trainer.play_step()

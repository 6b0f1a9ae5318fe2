"""From the configuration to a trainer that is ready: model, memory plan, sampler, TRL's arguments."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import GRPOConfig

from rgym_exp.config.schema import TrainingConfig
from rgym_exp.training.hardware import Hardware, HardwareError, choose_dtype
from rgym_exp.training.hub_names import published_name
from rgym_exp.training.memory_estimate import CPU_WASTE, MemoryPlan, Shape, plan_memory
from rgym_exp.training.models import eos_token_ids, load_model, with_lora
from rgym_exp.training.policy import Chat, ChatPolicy, ChatTokens, Sampler
from rgym_exp.training.probe import Abilities, probe
from rgym_exp.training.rollout import Rollout
from rgym_exp.training.samplers import InferenceCopy, SharedPrefillSampler, TrlSampler
from rgym_exp.training.sampling import SamplingSettings
from rgym_exp.training.trainer import SwarmTrainer

logger = logging.getLogger("rl_swarm.training")

_SMALL_MODEL_PARAMETERS = 300_000_000
_ENDLESS = 10**9


@dataclass(frozen=True, kw_only=True)
class Learner:
    """All of the training package that a node needs."""

    trainer: SwarmTrainer
    policy: ChatPolicy
    sampler: Sampler
    tokens: ChatTokens
    plan: MemoryPlan
    dtype: torch.dtype


def build_learner(
    config: TrainingConfig,
    hardware: Hardware,
    *,
    model_name: str,
    max_completion_length: int,
    sample_chats: Sequence[Chat],
    play: Callable[[], Rollout],
) -> Learner:
    """Load the model and make the trainer.

    Args:
        sample_chats: typical prompts, from whose length the memory plan is made.
        play: called once per optimizer step for the batch.

    Raises:
        ModelError: the model cannot be had, or cannot be trained.
        NotEnoughMemory: it does not fit.
        HardwareError: it is to generate with what this device does not have.
    """
    if config.use_vllm and hardware.device != "cuda":
        raise HardwareError(f"training.use_vllm needs an NVIDIA GPU, and this node trains on {hardware.device}.")
    model, tokenizer = load_model(model_name)
    dtype = choose_dtype(config.dtype, hardware)
    if config.lora:
        model = with_lora(model, config.lora_rank)
    tokens = ChatTokens(tokenizer, max_completion_length, model_name)
    prompts = [tokens.prompt(chat) for chat in sample_chats]
    lengths = max(map(len, prompts)), max_completion_length
    # On a CPU the weights are in memory already; on a GPU they are about to move there.
    plan = _plan(config, hardware, model, lengths, dtype, packs=config.shared_prompt, loaded=hardware.device == "cpu")
    model = model.to(hardware.device)  # type: ignore[arg-type]
    abilities = probe(model, model_name, sum(prompts, []), int(tokenizer.pad_token_id))
    packs = config.shared_prompt and abilities.packs
    shares_prefill = config.shared_prompt and abilities.shares_prefill and not config.use_vllm
    _say(model_name, abilities, config)
    if packs != config.shared_prompt:
        plan = _plan(config, hardware, model, lengths, dtype, packs=False, loaded=True)
    logger.info("%s", plan)
    # The copy comes before the trainer, which patches the model's forward.
    inference = InferenceCopy(model, dtype) if shares_prefill else None
    trainer = SwarmTrainer(
        play=play,
        groups_at_once=plan.groups_at_once,
        shared_prompt=packs,
        weigh_external=config.external_weight == "bounded",
        steps_per_round=config.steps_per_round,
        model=model,
        processing_class=tokenizer,
        train_dataset=placeholders(config.local_groups + config.external_groups),
        args=training_arguments(config, hardware, model, plan, max_completion_length, dtype),
    )
    # The node reports its rounds itself.
    trainer.remove_callback(PrinterCallback)
    sampler: Sampler = TrlSampler(trainer, repeats_cache=abilities.shares_prefill)
    if inference is not None:
        sampler = SharedPrefillSampler(inference, _sampling(config, model, tokenizer, max_completion_length))
    return Learner(
        trainer=trainer,
        policy=ChatPolicy(tokens, sampler, published_name(model_name)),
        sampler=sampler,
        tokens=tokens,
        plan=plan,
        dtype=dtype,
    )


def _say(name: str, abilities: Abilities, config: TrainingConfig) -> None:
    """One line about what this model is slower with, and another about what it is inexact with."""
    wanted = {"packed training step": abilities.packing_problem}
    if not config.use_vllm:
        wanted["shared prefill"] = abilities.prefill_problem
    problems = [f"the {way} {problem}" for way, problem in wanted.items() if problem]
    if problems and config.shared_prompt:
        logger.info("%s takes TRL's own path, which is slower: %s.", name, "; ".join(problems))
    if abilities.padding_problem and not (config.shared_prompt and abilities.packs):
        logger.warning(
            "%s takes padding for text, so it learns inexactly from prompts of unequal lengths: a padded batch %s.",
            name,
            abilities.padding_problem,
        )


def _plan(
    config: TrainingConfig,
    hardware: Hardware,
    model: PreTrainedModel,
    lengths: tuple[int, int],
    dtype: torch.dtype,
    *,
    packs: bool,
    loaded: bool,
) -> MemoryPlan:
    """What fits, for prompts and completions of ``lengths`` tokens; ``loaded``: the weights are on the device."""
    shape = Shape.of(
        model.config,
        parameters=sum(p.numel() for p in model.parameters()),
        trained_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        prompt_length=lengths[0],
        completion_length=lengths[1],
        groups=config.local_groups + config.external_groups,
        group_size=config.num_generations,
        bf16=dtype == torch.bfloat16,
        packed=packs,
        # Under LoRA the reference is the model without its adapters.
        reference=config.beta > 0 and not config.lora,
    )
    return plan_memory(
        shape,
        hardware.free_bytes() + (4 * shape.parameters if loaded else 0),
        groups_at_once=config.micro_batch_groups,
        gradient_checkpointing=config.gradient_checkpointing,
        waste=CPU_WASTE if hardware.device == "cpu" else 1.0,
    )


def placeholders(groups: int) -> Dataset:
    """TRL walks through a data set of prompts; a round brings its own problems, so these are never read."""
    return Dataset.from_dict({"prompt": ["a round of the swarm"] * groups})


def learning_rate(config: TrainingConfig, model: PreTrainedModel) -> float:
    """The configured rate, or 1e-6; 1e-5 for LoRA, 5e-6 for small models (twice that collapsed on the starter mix)."""
    if config.learning_rate is not None:
        return config.learning_rate
    if config.lora:
        return 1e-5
    small = sum(p.numel() for p in model.parameters()) < _SMALL_MODEL_PARAMETERS
    return 5e-6 if small else 1e-6


def training_arguments(
    config: TrainingConfig,
    hardware: Hardware,
    model: PreTrainedModel,
    plan: MemoryPlan,
    completion_length: int,
    dtype: torch.dtype,
) -> GRPOConfig:
    """TRL's arguments for rounds of this configuration: a round is one batch, one generation, one step."""
    groups = config.local_groups + config.external_groups
    return GRPOConfig(
        # Checkpoints are ours (checkpoint.py); nothing is written here.
        output_dir=tempfile.gettempdir(),
        per_device_train_batch_size=groups * config.num_generations,
        gradient_accumulation_steps=1,
        max_steps=_ENDLESS if config.max_rounds is None else config.max_rounds,
        num_generations=config.num_generations,
        max_completion_length=completion_length,
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        learning_rate=learning_rate(config, model),
        lr_scheduler_type="constant",
        loss_type=config.loss_type,
        epsilon=config.epsilon,
        epsilon_high=config.epsilon_high,
        beta=config.beta,
        # A load-balancing loss over the whole batch can't be added up from its parts, and answers are what we train on.
        router_aux_loss_coef=0.0 if hasattr(model.config.get_text_config(), "output_router_logits") else None,
        scale_rewards=config.scale_rewards,
        max_grad_norm=config.max_grad_norm,
        bf16=dtype == torch.bfloat16,
        use_cpu=hardware.device == "cpu",
        activation_checkpointing=plan.gradient_checkpointing,
        use_vllm=config.use_vllm,
        vllm_mode="colocate",
        vllm_gpu_memory_utilization=config.vllm_gpu_memory_utilization,
        ignore_data_skip=True,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=hardware.device == "cuda",
        seed=config.seed,
    )


def _sampling(
    config: TrainingConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, completion_length: int
) -> SamplingSettings:
    return SamplingSettings(
        max_new_tokens=completion_length,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        eos_token_ids=eos_token_ids(model, tokenizer),
        pad_token_id=int(tokenizer.pad_token_id),
    )

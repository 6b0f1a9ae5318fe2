"""What a model was trained with: the settings and the versions that a model card lists."""

from __future__ import annotations

import importlib.metadata

import rgym_exp
from rgym_exp.config.schema import TrainingConfig

_VERSIONED = ("torch", "transformers", "trl", "peft", "reasoning-gym")


def hyperparameters(config: TrainingConfig, *, learning_rate: float, max_completion_length: int) -> dict[str, object]:
    """The settings that decide how a model was trained, as a model card lists them."""
    found: dict[str, object] = {
        "learning_rate": learning_rate,
        "loss_type": config.loss_type,
        "beta": config.beta,
        "steps_per_round": config.steps_per_round,
        "epsilon": config.epsilon,
        "epsilon_high": config.epsilon_high,
        "num_generations": config.num_generations,
        "local_groups": config.local_groups,
        "external_groups": config.external_groups,
        "external_weight": config.external_weight,
        "temperature": config.temperature,
        "max_completion_length": max_completion_length,
    }
    return {**found, "lora_rank": config.lora_rank} if config.lora else found


def versions() -> dict[str, str]:
    """Of ourselves and of the libraries that decide what training does."""
    found = {"rl-swarm": rgym_exp.__version__}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # A card without a version is better than none.
    return found

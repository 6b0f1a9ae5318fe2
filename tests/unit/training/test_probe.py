"""Any family of models trains, by the quickest way that is right for it, or is refused in a sentence."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from rgym_exp.config.schema import TrainingConfig
from rgym_exp.errors import ModelError
from rgym_exp.training.build import Learner, build_learner
from rgym_exp.training.hardware import find_hardware
from rgym_exp.training.probe import probe
from rgym_exp.training.rollout import Rollout
from rgym_exp.training.sampling import SampledTokens
from tests.support.families import save_family
from tests.unit.training.conftest import model_of, weights_of

GROUP_SIZE = 4
CHATS = [
    [{"role": "user", "content": "How much is three times four?"}],
    [{"role": "user", "content": "Sort these letters: d b a c"}],
]
IDS = list(range(60, 130))
PAD = 256


class OneRound:
    """Samples from the learner that it is given, greedily too, and rewards every other answer."""

    def __init__(self) -> None:
        self.learner: Learner | None = None
        self.sampled: list[tuple[list[int], SampledTokens]] = []

    def play(self) -> Rollout:
        assert self.learner is not None
        prompts = [self.learner.tokens.prompt(chat) for chat in CHATS]
        answers = self.learner.sampler.sample(prompts, GROUP_SIZE)
        assert len(self.learner.sampler.sample(prompts, 1, greedy=True)) == len(prompts)
        assert all(score < 0 for score in self.learner.sampler.score(prompts[0], [[70, 71], [72]]))
        self.sampled = [(prompt, row) for prompt, group in zip(prompts, answers, strict=True) for row in group]
        rows = len(self.sampled)
        return Rollout(
            prompt_ids=[prompt for prompt, _ in self.sampled],
            completion_ids=[list(row.token_ids) for _, row in self.sampled],
            logprobs=[list(row.logprobs) or [float("nan")] * len(row.token_ids) for _, row in self.sampled],
            rewards=[float(index % 2) for index in range(rows)],
            sender_mean_logprobs=[float("nan")] * rows,
            external=[False] * rows,
        )


def learner_of(folder: Path, game: OneRound, **changes: Any) -> Learner:
    settings: dict[str, Any] = {"device": "cpu", "dtype": "float32", "local_groups": len(CHATS), "external_groups": 0}
    game.learner = build_learner(
        TrainingConfig(num_generations=GROUP_SIZE, max_rounds=1, **{**settings, **changes}),
        find_hardware("cpu"),
        model_name=str(folder),
        max_completion_length=5,
        sample_chats=CHATS,
        play=game.play,
    )
    return game.learner


def alone(model: PreTrainedModel, prompt: list[int], answer: tuple[int, ...]) -> torch.Tensor:
    """An answer's log-probabilities from one plain pass over it, without padding, cache or neighbours."""
    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        log_probs = model(input_ids=ids, use_cache=False).logits[0].log_softmax(dim=-1)
    return log_probs[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None]).squeeze(1)


# What a family needs of the two quick ways: P packs a group in training, S shares a prompt's prefill in sampling.
WAYS = {
    "P and S": ["gemma", "glm4", "gpt2", "granite", "llama", "mixtral", "olmo2", "phi3", "qwen2", "qwen3", "qwen3_moe",
                "smollm3"],
    "S": ["gemma2", "gemma3_text", "gpt_neo", "gpt_oss", "mistral", "nemotron"],
    "neither": ["bamba", "falcon_h1", "granitemoehybrid", "jamba", "lfm2", "mamba", "minimax", "nemotron_h",
                "olmo_hybrid", "qwen3_5_text", "qwen3_next", "recurrent_gemma", "rwkv", "zamba2"],
}  # fmt: skip


@pytest.mark.parametrize(("family", "ways"), [(family, ways) for ways, group in WAYS.items() for family in group])
def test_a_family_trains_by_the_ways_that_are_right_for_it(
    family: str, ways: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_family(family, tmp_path)
    untouched = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    game = OneRound()
    with caplog.at_level(logging.INFO, logger="rl_swarm.training"):
        trainer = learner_of(folder, game).trainer
    said = [line for line in caplog.messages if "TRL's own path" in line]
    assert len(said) == (0 if ways == "P and S" else 1)
    assert ["packed" not in "".join(said), "prefill" not in "".join(said)] == ["P" in ways, "S" in ways]

    before = weights_of(trainer)
    trainer.train()
    assert any(not torch.equal(weight, before[name]) for name, weight in weights_of(trainer).items())
    for prompt, row in game.sampled:
        # TRL's own generation tells no log-probabilities.
        if row.logprobs:
            assert torch.tensor(row.logprobs) == pytest.approx(alone(untouched, prompt, row.token_ids), abs=1e-4)


def test_a_family_that_trls_step_cannot_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be trained here: its output layer .* Choose another model"):
        learner_of(save_family("llama4_text", tmp_path), OneRound())


def test_a_family_that_cannot_run_is_refused_with_what_it_said(tiny_model_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    model.model.layers[1].mlp.up_proj = torch.nn.Linear(7, 64)
    with pytest.raises(ModelError, match="its forward or backward pass fails .*RuntimeError"):
        probe(model, "broken", IDS, PAD)


def test_padding_that_changes_probabilities_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Its positions are counted from the beginning of the row, padding included.
    learner_of(save_family("gpt_neo", tmp_path), OneRound())
    assert any("takes padding for text" in line for line in caplog.messages)


def test_the_probe_leaves_the_model_as_it_was(tiny_model_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32).train()
    implementation = model.config._attn_implementation
    abilities = probe(model, "tiny", IDS, PAD)
    assert abilities.packs and abilities.shares_prefill and abilities.padding_problem is None
    assert model.training and model.config._attn_implementation == implementation
    assert all(weight.grad is None for weight in model.parameters())


def test_trls_path_is_not_called_slower_where_it_was_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="rl_swarm.training"):
        learner_of(save_family("lfm2", tmp_path), OneRound(), shared_prompt=False)
    assert not any("TRL's own path" in line for line in caplog.messages)


@pytest.mark.parametrize("family", ["llama", "nemotron", "lfm2"])
def test_adapters_train_by_the_same_ways_as_the_whole_model(family: str, tmp_path: Path) -> None:
    game = OneRound()
    trainer = learner_of(save_family(family, tmp_path), game, lora=True, lora_rank=2).trainer
    trainer.train()
    assert trainer.state.global_step == 1
    assert model_of(trainer).peft_config


def test_a_group_that_can_not_be_packed_is_counted_row_by_row_in_the_memory_plan(tmp_path: Path) -> None:
    packed = learner_of(save_family("qwen2", tmp_path / "a"), OneRound()).plan
    rows = learner_of(save_family("mistral", tmp_path / "b"), OneRound()).plan
    assert rows.needed_bytes > packed.needed_bytes

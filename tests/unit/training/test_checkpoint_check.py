"""A checkpoint that can't be resumed from is found out before anything of it is used."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from rgym_exp.training.checkpoint_check import problem_with
from rgym_exp.training.models import with_lora
from tests.unit.training.conftest import MakeTrainer, change, model_of, weights_of


@pytest.fixture
def checkpoint(make_trainer: MakeTrainer, tmp_path: Path) -> Path:
    """One as the Trainer writes it, with AdamW's moments."""
    trainer = make_trainer(optim="adamw_torch")
    trainer.train()
    return trainer.write_checkpoint(tmp_path / "written")


@pytest.fixture
def model(tiny_model_folder: Path) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)


def test_a_checkpoint_of_this_model_has_no_problem(checkpoint: Path, model: LlamaForCausalLM) -> None:
    assert problem_with(checkpoint, model) is None


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "config.json"],
)
@pytest.mark.parametrize("left", [0, 0.5, 0.98])
def test_any_file_cut_short_is_found_and_named(
    checkpoint: Path, model: LlamaForCausalLM, name: str, left: float
) -> None:
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[: int(len(content) * left)])
    problem = problem_with(checkpoint, model)
    assert problem is not None and problem.startswith(f"{name}: ")


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def without_state(folder: Path) -> None:
    (folder / "trainer_state.json").unlink()


def spoilt(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def spoilt_moments(folder: Path) -> None:
    state = torch.load(folder / "optimizer.pt", weights_only=True)
    state["state"][0]["exp_avg"].view(-1)[0] = torch.inf
    torch.save(state, folder / "optimizer.pt")


def without_a_layer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without_weights, "model.safetensors: "),
        (without_state, "trainer_state.json: "),
        (spoilt, "model.norm.weight holds numbers that aren't finite"),
        (spoilt_moments, "optimizer.pt: it holds numbers that aren't finite"),
        (without_a_layer, "model.norm.weight of the model isn't in it"),
    ],
)
def test_damage_is_said(checkpoint: Path, model: LlamaForCausalLM, damage: Callable[[Path], None], said: str) -> None:
    damage(checkpoint)
    problem = problem_with(checkpoint, model)
    assert problem is not None and said in problem


def test_a_model_folder_of_another_size_does_not_fit(checkpoint: Path, model: LlamaForCausalLM) -> None:
    settings = {**model.config.to_dict(), "hidden_size": 64}
    larger = LlamaForCausalLM(LlamaConfig(**settings))
    problem = problem_with(checkpoint, larger)
    assert problem is not None and "doesn't fit the model" in problem


def test_an_optimizer_of_another_model_does_not_fit(checkpoint: Path, model: LlamaForCausalLM, tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    other = torch.optim.AdamW([weight])
    weight.sum().backward()
    other.step()
    torch.save(other.state_dict(), checkpoint / "optimizer.pt")
    problem = problem_with(checkpoint, model)
    assert problem is not None and problem.startswith("optimizer.pt: it is of 1 weights")


def test_adapters_are_compared_with_adapters(model: LlamaForCausalLM, tmp_path: Path) -> None:
    adapted = with_lora(model, 4)
    adapted.save_pretrained(str(tmp_path))
    (tmp_path / "trainer_state.json").write_text("{}")
    assert problem_with(tmp_path, adapted) is None
    other = with_lora(LlamaForCausalLM(model.config), 8)
    problem = problem_with(tmp_path, other)
    assert problem is not None and "doesn't fit the model" in problem
    (tmp_path / "adapter_config.json").write_text("{")
    assert problem_with(tmp_path, adapted) is not None


def test_weights_in_several_files_are_all_looked_at(checkpoint: Path, model: LlamaForCausalLM, tmp_path: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    model.save_pretrained(tmp_path / "parts", max_shard_size="50KB")
    for file in (tmp_path / "parts").glob("model*"):
        shutil.copy(file, checkpoint)
    assert problem_with(checkpoint, model) is None
    last = max(checkpoint.glob("model-*.safetensors"))
    last.unlink()
    problem = problem_with(checkpoint, model)
    assert problem is not None and problem.startswith(last.name)


def test_experts_are_written_as_the_trainer_will_look_for_them(
    tiny_model_folder: Path, tmp_path: Path, make_trainer: MakeTrainer
) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_model_folder).config
    experts = Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            vocab_size=base.vocab_size, hidden_size=16, intermediate_size=16, moe_intermediate_size=8,
            num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, num_experts=4, num_experts_per_tok=2,
            pad_token_id=base.pad_token_id, eos_token_id=base.eos_token_id,
        )
    )  # fmt: skip
    experts.save_pretrained(tmp_path / "experts")
    AutoTokenizer.from_pretrained(tiny_model_folder).save_pretrained(tmp_path / "experts")
    trainer = make_trainer(folder=tmp_path / "experts", shared_prompt=False, router_aux_loss_coef=0.0)
    trainer.train()
    written = trainer.write_checkpoint(tmp_path / "written")
    assert problem_with(written, model_of(trainer)) is None
    resumed = make_trainer(folder=tmp_path / "experts", shared_prompt=False, router_aux_loss_coef=0.0)
    resumed.train(resume_from_checkpoint=str(written))
    assert change(weights_of(trainer), weights_of(resumed)).abs().max() == 0


def test_looking_changes_no_weight(checkpoint: Path, make_trainer: MakeTrainer) -> None:
    model = model_of(make_trainer())
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    problem_with(checkpoint, model)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())

"""Which model, and what is said when it cannot be had."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, LlamaForCausalLM

from rgym_exp.errors import ModelError
from rgym_exp.training.hardware import Hardware, HardwareError, choose_dtype, find_hardware
from rgym_exp.training.models import choose_model, eos_token_ids, load_model, with_lora

POOL = ["one", "two", "three"]


def test_a_named_model_wins_over_the_networks_and_that_over_the_pool() -> None:
    assert choose_model("mine", "networks", POOL, "peer") == "mine"
    assert choose_model("auto", "networks", POOL, "peer") == "networks"
    assert choose_model("auto", "auto", POOL, "peer") in POOL


def test_a_peer_gets_the_same_model_of_the_pool_every_time_and_peers_get_different_ones() -> None:
    chosen = {peer: choose_model("auto", "auto", POOL, peer) for peer in map(str, range(50))}
    assert chosen == {peer: choose_model("auto", "auto", POOL, peer) for peer in chosen}
    assert set(chosen.values()) == set(POOL)


def test_without_a_name_and_without_a_pool_it_is_said_what_to_set() -> None:
    with pytest.raises(ModelError, match="MODEL_NAME"):
        choose_model("auto", "auto", [], "peer")


def test_a_model_is_loaded_with_fp32_weights(tiny_model_folder: Path) -> None:
    model, tokenizer = load_model(str(tiny_model_folder))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert eos_token_ids(model, tokenizer) == (tokenizer.eos_token_id,)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder, but not one with a model"):
        load_model(str(tmp_path))


def test_a_model_without_a_chat_template_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    for file in tiny_model_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="instruct model"):
        load_model(str(tmp_path))


def copied(model: Path, folder: Path) -> Path:
    """A copy of the model's folder to do harm to."""
    shutil.copytree(model, folder, dirs_exist_ok=True)
    return folder


def changed(file: Path, **changes: object) -> None:
    """A JSON file with some keys replaced; None takes one away."""
    content = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def point_to_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def quantise(folder: Path) -> None:
    changed(folder / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})


def widen(folder: Path) -> None:
    changed(folder / "config.json", intermediate_size=48)


def narrow_vocabulary(folder: Path) -> None:
    changed(folder / "config.json", vocab_size=100, pad_token_id=0, eos_token_id=1)
    model = LlamaForCausalLM(AutoConfig.from_pretrained(folder))
    model.save_pretrained(folder)


def forget_the_end(folder: Path) -> None:
    changed(folder / "tokenizer_config.json", eos_token=None, pad_token=None)
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    for name in ("config.json", "generation_config.json"):
        changed(folder / name, eos_token_id=None, pad_token_id=None)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut_weights, "weights of .* are damaged or cut short .*Fetch them anew"),
        (point_to_weights, "Git LFS pointer .*git lfs pull"),
        (quantise, "needs a package .*choose the model without quantisation"),
        (widen, "do not fit its configuration"),
        (narrow_vocabulary, "counts its tokens up to 258 and the model has 100"),
        (forget_the_end, "names no token that ends an answer"),
    ],
)
def test_a_model_that_can_not_be_used_is_a_sentence_that_names_it(
    harm: Callable[[Path], None], said: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    folder = copied(tiny_model_folder, tmp_path / "model")
    harm(folder)
    with pytest.raises(ModelError, match=said) as refused:
        load_model(str(folder))
    assert str(folder) in str(refused.value) and "\n" not in str(refused.value)


def test_an_end_that_only_the_models_settings_name_is_taken_from_there(tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = copied(tiny_model_folder, tmp_path / "model")
    changed(folder / "tokenizer_config.json", eos_token=None, pad_token=None)
    _, tokenizer = load_model(str(folder))
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"


def test_lora_trains_a_small_part_of_the_model_only(tiny_model_folder: Path) -> None:
    model, _ = load_model(str(tiny_model_folder))
    total = sum(p.numel() for p in model.parameters())
    adapted = with_lora(model, rank=2)
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert 0 < trained < total / 4


def hardware(device: str, gib: int, has_bf16: bool) -> Hardware:
    return Hardware(device=device, name="x", memory_bytes=gib * 1024**3, has_bf16=has_bf16)


def test_the_large_pool_is_for_forty_gibibytes_of_gpu_memory() -> None:
    assert hardware("cuda", 40, True).is_large
    assert not hardware("cuda", 24, True).is_large
    assert not hardware("cpu", 512, True).is_large


def test_bf16_where_the_hardware_has_it_unless_told_otherwise() -> None:
    assert choose_dtype("auto", hardware("cpu", 8, True)) == torch.bfloat16
    assert choose_dtype("auto", hardware("cpu", 8, False)) == torch.float32
    assert choose_dtype("float32", hardware("cuda", 8, True)) == torch.float32
    assert choose_dtype("bfloat16", hardware("cpu", 8, False)) == torch.bfloat16


def test_the_cpu_is_always_there_and_a_gpu_that_is_not_is_named() -> None:
    found = find_hardware("cpu")
    assert found.device == "cpu" and found.memory_bytes > 0 and found.free_bytes() > 0
    if not torch.cuda.is_available():
        with pytest.raises(HardwareError, match="CPU_ONLY=true"):
            find_hardware("cuda")


def test_a_model_that_a_socks_proxy_keeps_away_is_told_with_the_variable() -> None:
    """In a process of its own: the hub's client reads the variables once."""
    script = "from rgym_exp.training.models import load_model; load_model('nobody/nothing-at-all')"
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith(("_proxy", "_offline"))}
    environ = {**kept, "ALL_PROXY": "socks5h://127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=120)
    last = done.stderr.strip().splitlines()[-1]
    assert "ModelError: The model nobody/nothing-at-all could not be fetched: ALL_PROXY names a SOCKS proxy" in last

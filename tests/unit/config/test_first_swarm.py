"""Whoever comes from the first RL Swarm: its file in configs/, its keys and its variables."""

from pathlib import Path

import pytest

from rgym_exp.aliases import FIRST_SWARM_KEYS, FIRST_SWARM_VARIABLES
from rgym_exp.config.keys import schema_keys
from rgym_exp.config.load import load_with_notes
from rgym_exp.config.paths import Home
from rgym_exp.config.template import TEMPLATE
from rgym_exp.errors import ConfigError

TEMPLATES = sorted((Path(__file__).parent / "first_swarm").iterdir())
"""As its launcher copied them to configs/, by version (MIT licence, Copyright (c) [2025] [Gensyn])."""


def home_with(folder: Path, content: bytes) -> Home:
    home = Home(root=folder)
    home.config_file.parent.mkdir()
    home.config_file.write_bytes(content)
    return home


def backups(home: Home) -> list[bytes]:
    return [file.read_bytes() for file in home.config_file.parent.glob("rg-swarm.yaml.*.bak")]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.stem)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["unix", "windows"])
def test_an_untouched_template_is_renewed_and_kept(tmp_path: Path, template: Path, line_end: bytes) -> None:
    content = template.read_bytes().replace(b"\n", line_end)
    home = home_with(tmp_path, content)
    config, notes = load_with_notes(home, environ={})
    assert config.training.num_generations == 8  # Ours, not the 2 of the file.
    assert home.config_file.read_bytes() == TEMPLATE.read_bytes()
    assert backups(home) == [content]
    assert len(notes) == 1
    assert "configs/rg-swarm.yaml was the untouched template of an earlier RL Swarm: renewed" in notes[0]
    assert load_with_notes(home, environ={})[1] == []


def changed_file() -> bytes:
    text = TEMPLATES[-1].read_text()
    for old, new in (
        ("max_round: 1000000", "max_round: 50"),
        ("num_train_samples: 2", "num_train_samples: 6"),
        ("epsilon_high: 0.28", "epsilon_high: 0.3"),
        ("  - Qwen/Qwen3-0.6B", "  - Qwen/Qwen3-1.7B"),
        ("https://gensyn-testnet.g.alchemy.com/public", "https://gensyn-testnet.g.alchemy.com/v2/mine"),
        ("beam_size: 50", "beam_size: 100"),
    ):
        assert old in text
        text = text.replace(old, new)
    text = text.replace("${oc.env:MODEL_NAME, ${gpu_model_choice:", "Qwen/Qwen3-0.6B # ")
    return text.encode()


def test_what_was_changed_is_carried_over_or_named_with_what_replaces_it(tmp_path: Path) -> None:
    home = home_with(tmp_path, changed_file())
    config, notes = load_with_notes(home, environ={})
    assert config.training.max_rounds == 50
    assert config.training.local_groups == 6
    assert config.training.epsilon_high == 0.3
    assert config.training.model_name == "Qwen/Qwen3-0.6B"
    assert config.default_small_model_pool == ["Gensyn/Qwen2.5-0.5B-Instruct", "Qwen/Qwen3-1.7B"]
    # What nobody changed has this version's defaults.
    assert (config.training.num_generations, config.training.hf_push_frequency) == (8, 100)
    assert backups(home) == [changed_file()]
    said = "\n".join(notes)
    assert "training.max_round as training.max_rounds (50)" in said
    assert "blockchain.alchemy_url (blockchain.rpc_url)" in said
    assert "game_manager.communication.beam_size (nothing like it here)" in said
    assert "/v2/mine" not in said  # It may hold a key.


def test_the_renewed_file_keeps_its_comments_and_is_read_alike_at_the_next_start(tmp_path: Path) -> None:
    home = home_with(tmp_path, changed_file())
    first, _ = load_with_notes(home, environ={})
    again, notes = load_with_notes(home, environ={})
    assert again == first
    assert notes == []
    ours = TEMPLATE.read_text().splitlines()
    comments = [line for line in ours if line.strip().startswith("#")]
    assert [line for line in home.config_file.read_text().splitlines() if line.strip().startswith("#")] == comments


@pytest.mark.parametrize("name", sorted(set(FIRST_SWARM_KEYS.values())))
def test_every_alias_leads_to_a_key_that_the_template_has(name: str) -> None:
    assert name in schema_keys()


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("communications.initial_peers=[]", "Here it is communications.bootnodes."),
        ("training.max_round=5", "Here it is training.max_rounds."),
        ("eval.judge_base_url=x", "Here it is network.judge_url."),
    ],
)
def test_its_keys_on_the_command_line_are_told_with_what_replaces_them(
    tmp_path: Path, override: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=hint):
        load_with_notes(Home(root=tmp_path), environ={}, overrides=[override])


def test_a_name_unlike_any_other_of_its_section_gets_no_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_with_notes(Home(root=tmp_path), environ={}, overrides=["communications.first_peers=[]"])
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("variable", FIRST_SWARM_VARIABLES)
def test_a_variable_that_means_nothing_here_is_named_once_with_what_replaces_it(tmp_path: Path, variable: str) -> None:
    _, notes = load_with_notes(Home(root=tmp_path), environ={variable: "something"})
    (note,) = [note for note in notes if variable in note]
    assert f"mean nothing here: {variable} ({FIRST_SWARM_VARIABLES[variable]})" in note
    assert not any(variable in note for note in load_with_notes(Home(root=tmp_path), environ={variable: ""})[1])

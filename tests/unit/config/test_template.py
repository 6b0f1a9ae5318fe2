"""The template that users edit, and their copy of it."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from rgym_exp.config.keys import schema_keys
from rgym_exp.config.load import load_config, load_with_notes
from rgym_exp.config.paths import Home
from rgym_exp.config.schema import NetworkConfig
from rgym_exp.config.settings import settings_from
from rgym_exp.config.template import TEMPLATE
from rgym_exp.config.yaml_file import read_yaml
from rgym_exp.errors import ConfigError


def network_lines() -> dict[str, tuple[object, str]]:
    """The commented-out keys of the section network: name -> (value, comment)."""
    section = TEMPLATE.read_text().split("\nnetwork:\n")[1].split("\n\n")[0]
    found = re.findall(r"^  # (\w+): (.*?)  # (.+)$", section, flags=re.MULTILINE)
    assert len(found) == len(section.splitlines())
    return {name: (yaml.safe_load(value), comment) for name, value, comment in found}


def test_the_template_has_every_key_of_the_schema_with_its_default() -> None:
    outside_network = {key.name: key.default for key in schema_keys().values() if not key.name.startswith("network.")}
    values, _ = settings_from(read_yaml(TEMPLATE, called="the template")[0], "the template")
    assert {setting.name: setting.value for setting in values} == outside_network


def test_the_template_lists_every_network_key_commented_out_so_that_it_masks_no_network() -> None:
    defaults = {field.name: getattr(NetworkConfig(), field.name) for field in fields(NetworkConfig)}
    assert {name: value for name, (value, _) in network_lines().items()} == defaults


def test_every_key_of_the_template_has_a_comment() -> None:
    lines = TEMPLATE.read_text().splitlines()
    bare = [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if re.match(r"\s*\w+:", line) and not above.strip().startswith("#")
    ]
    assert bare == []


def test_the_first_run_copies_the_template_and_reads_the_copy(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    _, notes = load_with_notes(home, environ={})
    assert home.config_file.read_bytes() == TEMPLATE.read_bytes()
    assert "yours to edit" in notes[0]

    home.config_file.write_text("training:\n  num_generations: 6\n")
    assert load_config(home, environ={}).training.num_generations == 6


def test_a_second_run_has_nothing_to_say_about_an_unchanged_file(tmp_path: Path) -> None:
    load_config(Home(root=tmp_path), environ={})
    assert load_with_notes(Home(root=tmp_path), environ={})[1] == []


def test_keys_that_the_user_took_out_are_not_reported(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    load_config(home, environ={})
    home.config_file.write_text("training:\n  lora: true\n")
    config, notes = load_with_notes(home, environ={})
    assert notes == []
    assert config.training.lora


def made_from_an_older_template(home: Home) -> None:
    """A user's file as an earlier version made it: without shared_prompt, and with another default for resamples."""
    older = TEMPLATE.read_text().replace("  shared_prompt: true\n", "").replace("  resamples: 1\n", "  resamples: 3\n")
    home.template_copy.parent.mkdir(parents=True)
    home.template_copy.write_text(older)
    home.config_file.parent.mkdir(parents=True)
    home.config_file.write_text(older)


def test_a_newer_template_is_described_and_overwrites_nothing(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    made_from_an_older_template(home)
    before = home.config_file.read_bytes()
    config, notes = load_with_notes(home, environ={})
    assert home.config_file.read_bytes() == before
    assert config.training.resamples == 3
    assert len(notes) == 2
    assert "training.shared_prompt (true)" in notes[0]
    assert "The default of training.resamples is now 1; configs/rg-swarm.yaml still says 3" in notes[1]


def test_a_value_that_the_user_chose_is_not_called_an_old_default(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    made_from_an_older_template(home)
    home.config_file.write_text(home.config_file.read_text().replace("resamples: 3", "resamples: 2"))
    _, notes = load_with_notes(home, environ={})
    assert not any("resamples" in note for note in notes)


def test_reset_keeps_the_old_file_beside_the_new_one(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    load_config(home, environ={})
    home.config_file.write_text("training:\n  lora: true\n")
    config, notes = load_with_notes(home, environ={"GENSYN_RESET_CONFIG": "please"})
    backups = list(home.config_file.parent.glob("rg-swarm.yaml.*.bak"))
    assert not config.training.lora
    assert home.config_file.read_bytes() == TEMPLATE.read_bytes()
    assert [backup.read_text() for backup in backups] == ["training:\n  lora: true\n"]
    assert backups[0].name in notes[0]


def test_reset_mends_a_file_that_can_no_longer_be_read(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    load_config(home, environ={})
    home.config_file.write_text("training: [")
    assert load_config(home, environ={"GENSYN_RESET_CONFIG": "true"}).training.num_generations == 8


def test_reset_of_an_untouched_file_makes_no_backup(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    for _ in range(2):
        load_config(home, environ={"GENSYN_RESET_CONFIG": "1"})
    assert sorted(file.name for file in home.config_file.parent.iterdir()) == ["rg-swarm.yaml"]


def test_a_home_that_can_not_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "configs").write_text("a file where a folder should be")
    with pytest.raises(ConfigError, match="can't be made.*--home"):
        load_config(Home(root=tmp_path), environ={})

"""Keys by the names of the version before: read for one version, with one line that says the new name."""

from pathlib import Path

import pytest

from rgym_exp.aliases import CONFIG_KEYS, REMOVED_KEYS
from rgym_exp.config.keys import schema_keys
from rgym_exp.config.load import load_with_notes
from rgym_exp.config.paths import Home
from rgym_exp.config.template import TEMPLATE
from rgym_exp.config.validate import value_at
from rgym_exp.errors import ConfigError

CHOSEN = {
    "training.local_groups": 3,
    "training.external_groups": 5,
    "training.external_weight": "bounded",
    "training.resamples": 0,
}
OLD_NAME = {new: old for old, new in CONFIG_KEYS.items()}


def with_old_names(text: str) -> str:
    """A user's file, or a template, as the version before spelt it."""
    for new, old in OLD_NAME.items():
        text = text.replace(f"  {new.removeprefix('training.')}:", f"  {old.removeprefix('training.')}:")
    return text


def old_file(home: Home) -> None:
    """The user's file of the version before, with four choices of their own, and the template it came from."""
    for path, changed in ((home.template_copy, {}), (home.config_file, CHOSEN)):
        text = TEMPLATE.read_text()
        for name, value in changed.items():
            key = name.removeprefix("training.")
            text = text.replace(f"\n  {key}: {schema_keys()[name].default}\n", f"\n  {key}: {value}\n")
        path.parent.mkdir(parents=True)
        path.write_text(with_old_names(text))


def test_every_old_name_leads_to_a_key_that_exists() -> None:
    assert set(CONFIG_KEYS.values()) <= set(schema_keys())
    assert not set(CONFIG_KEYS) & set(schema_keys())


def test_a_file_of_the_version_before_means_what_it_meant_and_one_line_says_the_new_names(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    old_file(home)
    config, notes = load_with_notes(home, environ={})
    assert {name: value_at(config, name) for name in CHOSEN} == CHOSEN
    (note,) = notes
    for new, old in OLD_NAME.items():
        assert f"{old} is now {new} (configs/rg-swarm.yaml line " in note


@pytest.mark.parametrize("new", CHOSEN)
def test_the_command_line_takes_an_old_name_too(tmp_path: Path, new: str) -> None:
    said = f"{OLD_NAME[new]}={CHOSEN[new]}"
    config, notes = load_with_notes(Home(root=tmp_path), environ={}, overrides=[said])
    assert value_at(config, new) == CHOSEN[new]
    assert f"{OLD_NAME[new]} is now {new} (command line ({said}))" in notes[-1]


def test_a_default_is_put_back_by_an_old_name(tmp_path: Path) -> None:
    config, _ = load_with_notes(
        Home(root=tmp_path),
        environ={},
        overrides=["training.resamples=0", f"~{OLD_NAME['training.resamples']}"],
    )
    assert config.training.resamples == 1


def test_a_key_under_both_of_its_names_is_refused(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    home.config_file.parent.mkdir(parents=True)
    old = OLD_NAME["training.local_groups"]
    home.config_file.write_text(f"training:\n  local_groups: 2\n  {old.removeprefix('training.')}: 3\n")
    with pytest.raises(ConfigError, match=f"line 3: {old} is the old name of training.local_groups"):
        load_with_notes(home, environ={})


@pytest.mark.parametrize("gone", REMOVED_KEYS)
def test_a_key_that_is_gone_may_stay_in_a_file_as_the_template_had_it(tmp_path: Path, gone: str) -> None:
    home = Home(root=tmp_path)
    home.config_file.parent.mkdir(parents=True)
    section, key = gone.split(".")
    home.config_file.write_text(f"{section}:\n  {key}: {str(REMOVED_KEYS[gone][0]).lower()}\n")
    load_with_notes(home, environ={})
    assert gone not in schema_keys()


def test_a_key_that_is_gone_and_was_used_is_named_with_what_to_do(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    home.config_file.parent.mkdir(parents=True)
    home.config_file.write_text("training:\n  use_continuous_batching: true\n")
    with pytest.raises(ConfigError, match=r"line 2: the key training.use_continuous_batching is gone: .*use_vllm"):
        load_with_notes(home, environ={})
    with pytest.raises(ConfigError, match="command line .*use_continuous_batching is gone"):
        load_with_notes(Home(root=tmp_path / "b"), environ={}, overrides=["training.use_continuous_batching=true"])

"""What is saved of a configuration, and how a component is swapped."""

from pathlib import Path

import pytest
import yaml

from rgym_exp.config.environment import hugging_face_token
from rgym_exp.config.load import load_config
from rgym_exp.config.paths import Home
from rgym_exp.config.resolved import HIDDEN, save_resolved, without_secrets
from rgym_exp.config.schema import Config
from rgym_exp.config.seams import instantiate_or
from rgym_exp.errors import ConfigError

TOKEN = "hf_abcdefghijklmnop"


def test_the_saved_configuration_gives_the_same_run_again(tmp_path: Path) -> None:
    home = Home(root=tmp_path / "one")
    config = load_config(home, network="offline", overrides=["training.num_generations=4"], environ={})
    save_resolved(config, home.logs / "config.yaml", environ={})
    again = Home(root=tmp_path / "two")
    again.config_file.parent.mkdir(parents=True)
    again.config_file.write_bytes((home.logs / "config.yaml").read_bytes())
    assert load_config(again, environ={}) == config


def test_tokens_are_not_saved(tmp_path: Path) -> None:
    environ = {"HF_TOKEN": TOKEN}
    config = Config(tracker={"_target_": "my.Tracker", "api_key": "s3cret", "note": f"uses {TOKEN}"})
    config.blockchain.rpc_url = "https://me:pass@rpc.example.org/v2/abcdefghij1234567890abcd?key=s3cret#x"
    save_resolved(config, tmp_path / "config.yaml", environ=environ)
    text = (tmp_path / "config.yaml").read_text()
    assert not any(secret in text for secret in (TOKEN, "s3cret", "pass@", "abcdefghij1234567890abcd"))
    saved = yaml.safe_load(text)
    assert saved["blockchain"]["rpc_url"] == f"https://rpc.example.org/v2/{HIDDEN}#x"
    assert saved["tracker"]["api_key"] == HIDDEN


def test_ordinary_values_are_saved_as_they_are() -> None:
    values = {
        "judge_url": "https://swarm-judge.internal-apps-central1.clusters.gensyn.ai",
        "coordinator_address": "0xFaD7C5e93f28257429569B854151A1B8DCD404c2",
        "max_tokens": 5,
        "pool": ["Gensyn/Qwen2.5-0.5B-Instruct"],
    }
    assert without_secrets(values) == values


@pytest.mark.parametrize(
    ("environ", "token"),
    [
        ({}, None),
        ({"HF_TOKEN": TOKEN}, TOKEN),
        ({"HUGGINGFACE_ACCESS_TOKEN": TOKEN}, TOKEN),
        ({"HUGGINGFACE_ACCESS_TOKEN": "None"}, None),
        ({"HF_TOKEN": "", "HUGGINGFACE_ACCESS_TOKEN": TOKEN}, TOKEN),
    ],
)
def test_the_hugging_face_token(environ: dict[str, str], token: str | None) -> None:
    assert hugging_face_token(environ) == token


def test_a_name_means_our_own() -> None:
    assert instantiate_or("auto", lambda: "ours", key="tracker") == "ours"


def test_a_target_is_made_with_its_arguments_and_what_the_run_offers() -> None:
    made: object = instantiate_or({"_target_": "collections.Counter", "a": 2}, dict, key="tracker")
    assert made == {"a": 2}
    home = {"_target_": "rgym_exp.config.paths.Home", "identity_path": "mine.pem"}
    offers = {"root": Path("/a"), "identity_path": Path("/theirs.pem"), "unasked": 1}
    made = instantiate_or(home, dict, key="tracker", given=offers)
    assert isinstance(made, Home)
    assert (made.root, str(made.identity_path)) == (Path("/a"), "mine.pem")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"_target_": "no_such_package.Class"}, "tracker: there is no no_such_package.Class"),
        ({"_target_": "collections.Contour"}, "tracker: there is no collections.Contour"),
        ({"_target_": "fractions.Fraction", "numerator": 1, "denominator": 0}, "can't be made: ZeroDivisionError"),
        ({"_target_": "fractions.Fraction", "nonsense": 1}, "can't be made: TypeError"),
        ({"size": 1}, "without _target_"),
    ],
)
def test_a_target_that_can_not_be_made_is_a_sentence(value: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        instantiate_or(value, dict, key="tracker")

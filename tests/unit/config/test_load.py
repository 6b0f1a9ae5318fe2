"""Layers, their order, and what a person is told when one of them is wrong."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from rgym_exp.config.invite import HUB_CAPABILITIES, Invite
from rgym_exp.config.load import load_config, load_with_notes
from rgym_exp.config.networks import network_names
from rgym_exp.config.paths import Home
from rgym_exp.config.schema import Config, NetworkConfig
from rgym_exp.errors import ConfigError
from rgym_exp.types import PROTOCOL

BOOTNODE = "/ip4/10.0.0.1/tcp/38600/p2p/QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ"
INVITE = Invite(
    swarm_id="friends",
    tasks="starter",
    model_name="auto",
    hub_url="http://10.0.0.1:8600",
    chain_id=685686,
    rpc_url="http://10.0.0.1:8600/rpc",
    coordinator_address="0x" + "ab" * 20,
    bootnodes=(BOOTNODE,),
    protocol=PROTOCOL,
    capabilities=tuple(HUB_CAPABILITIES),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path)


def write(home: Home, text: str) -> None:
    home.config_file.parent.mkdir(exist_ok=True)
    home.config_file.write_text(text)


def complaint(home: Home, *overrides: str, **arguments: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(home, overrides=overrides, **{"environ": {}, **arguments})  # type: ignore[arg-type]
    return str(caught.value)


def test_the_default_is_the_local_network(home: Home) -> None:
    config = load_config(home, environ={})
    assert isinstance(config, Config) and isinstance(config.network, NetworkConfig)
    assert (config.network.name, config.network.hub, config.network.tasks) == ("local", True, "starter")


@pytest.mark.parametrize("name", network_names())
def test_every_network_that_we_ship_loads(home: Home, name: str) -> None:
    assert load_config(home, network=name, environ={}).network.name == name


def test_the_testnet_has_its_contracts_and_bootnodes(home: Home) -> None:
    network = load_config(home, environ={"CONNECT_TO_TESTNET": "true"}).network
    assert network.chain_id == 685685
    assert network.coordinator == "modal"
    assert len(network.bootnodes) == 3


def test_each_layer_is_stronger_than_the_one_before(home: Home) -> None:
    assert load_config(home, environ={}).training.model_name == "auto"
    write(home, "training: {model_name: from/file}")
    assert load_config(home, environ={}).training.model_name == "from/file"
    environ = {"MODEL_NAME": "from/environment"}
    assert load_config(home, environ=environ).training.model_name == "from/environment"
    line = ["training.model_name=from/line"]
    assert load_config(home, environ=environ, overrides=line).training.model_name == "from/line"


def test_the_users_file_is_stronger_than_the_network_and_the_invite(home: Home) -> None:
    write(home, "network: {judge_url: http://127.0.0.1:9}")
    assert load_config(home, network="gensyn-testnet", environ={}).network.judge_url == "http://127.0.0.1:9"
    config, notes = load_with_notes(home, invite=INVITE, environ={})
    assert config.network.judge_url == "http://127.0.0.1:9"
    assert "network.judge_url: stronger than what the invite says" in notes[-1]


def test_an_invite_brings_the_network(home: Home) -> None:
    network = load_config(home, invite=INVITE, environ={"CONNECT_TO_TESTNET": "true"}).network
    assert network == INVITE.network()
    assert (network.name, network.swarm_id, network.bootnodes) == ("invite", "friends", [BOOTNODE])


def test_an_invite_fills_in_a_named_network(home: Home) -> None:
    network = load_config(home, network="local", invite=INVITE, environ={}).network
    assert (network.name, network.hub, network.rpc_url) == ("local", True, INVITE.rpc_url)


def test_a_network_section_for_another_network_is_left_aside(home: Home) -> None:
    write(home, "network:\n  name: gensyn-testnet\n  rpc_url: http://127.0.0.1:1\n")
    assert load_config(home, environ={}).network.rpc_url == "http://127.0.0.1:1"
    config, notes = load_with_notes(home, invite=INVITE, environ={})
    assert config.network.rpc_url == INVITE.rpc_url
    assert any("is for gensyn-testnet and is left aside" in note for note in notes)


@pytest.mark.parametrize("line", ["network=offline", "network.name=offline"])
def test_the_command_line_chooses_a_network(home: Home, line: str) -> None:
    assert load_config(home, overrides=[line], environ={"CONNECT_TO_TESTNET": "1"}).network.name == "offline"


def test_the_file_chooses_a_network_by_name(home: Home) -> None:
    write(home, "network: offline")
    assert load_config(home, environ={}).network.name == "offline"


def test_a_network_file_of_ones_own(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("swarm_id: lab\ncoordinator: offline\n")
    network = load_config(home, network=str(file), environ={}).network
    assert (network.name, network.swarm_id) == ("lab", "lab")
    file.write_text("swarm: lab\n")
    assert "network file lab.yaml line 1: there is no key network.swarm." in complaint(home, network=str(file))


def test_two_networks_at_once_are_refused(home: Home) -> None:
    assert "Choose one" in complaint(home, "network=offline", network="local")


def test_an_unknown_network_names_the_nearest_and_the_known(home: Home) -> None:
    message = complaint(home, network="gensin-testnet")
    assert "Did you mean gensyn-testnet?" in message
    assert "gensyn-testnet, local, offline" in message


@pytest.mark.parametrize(
    ("environ", "read"),
    [
        ({"CPU_ONLY": "true"}, lambda c: c.training.device == "cpu"),
        ({"CPU_ONLY": ""}, lambda c: c.training.device == "auto"),
        ({"CPU_ONLY": "sure"}, lambda c: c.training.device == "cpu"),
        ({"CPU_ONLY": "false"}, lambda c: c.training.device == "auto"),
        ({"PRG_GAME": "false"}, lambda c: c.prg_game_config.prg_game is False),
        ({"PRG_GAME": "Y"}, lambda c: c.prg_game_config.prg_game is True),
        ({}, lambda c: c.prg_game_config.prg_game is None),
        ({"MODEL_NAME": " "}, lambda c: c.training.model_name == "auto"),
        ({"MODEL_NAME": "odd/${name}"}, lambda c: c.training.model_name == "odd/${name}"),
        ({"CONNECT_TO_TESTNET": "no"}, lambda c: c.network.name == "local"),
    ],
)
def test_the_variables_that_users_know(home: Home, environ: dict[str, str], read) -> None:
    assert read(load_config(home, environ=environ))


def test_hydra_overrides_of_every_kind(home: Home) -> None:
    config = load_config(
        home,
        environ={},
        overrides=[
            "training.num_generations=4",
            "training={lora: true, seed: 7}",
            "+training.top_k=50",
            "++training.beta=0.04",
            "training.learning_rate=1e-5",
            "training.model_name=${network.model_name}",
            f"communications.bootnodes=[{BOOTNODE}]",
            "tracker._target_=my.Tracker",
            '+tracker.project="a, b"',
            "default_small_model_pool.0=tiny/model",
            "observe.live=yes",
        ],
    )
    training = config.training
    assert (training.num_generations, training.lora, training.seed, training.top_k) == (4, True, 7, 50)
    assert (training.beta, training.learning_rate) == (0.04, 1e-5)
    assert training.model_name == config.network.model_name
    assert config.communications.bootnodes == [BOOTNODE]
    assert config.tracker == {"_target_": "my.Tracker", "project": "a, b"}
    assert config.default_small_model_pool == ["tiny/model", "Qwen/Qwen3-0.6B"]
    assert config.observe.live == "yes"


def test_a_tilde_puts_the_default_back(home: Home) -> None:
    write(home, "training: {num_generations: 16}")
    assert load_config(home, environ={}, overrides=["~training.num_generations"]).training.num_generations == 8


def test_an_override_lays_over_a_mapping_of_the_file(home: Home) -> None:
    write(home, "tracker: {_target_: my.Tracker, project: one}")
    assert load_config(home, environ={}, overrides=["tracker.project=two"]).tracker == {
        "_target_": "my.Tracker",
        "project": "two",
    }


def test_a_bare_yes_in_yaml_is_the_word_yes(home: Home) -> None:
    write(home, "observe: {live: no}")
    assert load_config(home, environ={}).observe.live == "no"


def test_a_number_like_1e_5_in_yaml_is_a_number(home: Home) -> None:
    write(home, "training: {learning_rate: 1e-5}")
    assert load_config(home, environ={}).training.learning_rate == 1e-5


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "training.num_generation=4",
            "there is no key training.num_generation. Did you mean training.num_generations?",
        ),
        ("num_generations=4", "there is no key num_generations. Did you mean training.num_generations?"),
        ("+training.mine=1", "there is no key training.mine."),
        ("training.num_generations=four", "training.num_generations must be a whole number, not 'four'."),
        ("training.max_rounds=2.5", "training.max_rounds must be a whole number or null, not 2.5."),
        ("training.lora=perhaps", "training.lora must be true or false, not 'perhaps'."),
        ("training.num_generations=null", "training.num_generations must be a whole number, not null."),
        ("communications.bootnodes=5", "communications.bootnodes must be a list of texts, not 5."),
        ("training=4", "training is a section and takes keys, not 4."),
        ("training.seed=1,2", "a run takes one value for training.seed, not several."),
        ("~training", "~ puts a key's default back, and training is not a key of its own."),
        ("nonsense", "'nonsense' is no override. Write key=value"),
        ("blockchain.rpc_url=http://h/?a=b", "'blockchain.rpc_url=\"http://h/?a=b\"'"),
    ],
)
def test_a_wrong_override_is_one_sentence_that_names_flag_and_key(home: Home, override: str, sentence: str) -> None:
    message = complaint(home, override)
    assert message.startswith("command line")
    assert override in message
    assert sentence in message
    assert "\n" not in message


def test_a_wrong_key_in_the_file_is_named_with_its_line(home: Home) -> None:
    write(home, "training:\n  lora: true\n  num_generatoins: 4\n")
    assert complaint(home) == (
        "configs/rg-swarm.yaml line 3: there is no key training.num_generatoins. Did you mean training.num_generations?"
    )


def test_broken_yaml_names_line_and_column(home: Home) -> None:
    write(home, "training:\n  lora: true\n bad: [\n")
    assert "configs/rg-swarm.yaml is not valid YAML at line 3, column 2" in complaint(home)


def test_a_key_said_twice_is_refused(home: Home) -> None:
    write(home, "training: {lora: true}\ntraining: {seed: 1}\n")
    assert "found duplicate key training" in complaint(home)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text", "42"])
def test_a_file_that_is_no_mapping_is_refused(home: Home, text: str) -> None:
    write(home, text)
    assert "configs/rg-swarm.yaml" in complaint(home)


def test_an_empty_file_means_all_defaults(home: Home) -> None:
    write(home, "")
    assert load_config(home, environ={}).training.num_generations == 8


def test_a_file_in_another_encoding_is_a_sentence(home: Home) -> None:
    write(home, "")
    home.config_file.write_bytes(b"training: \xff\xfe")
    assert "is not a text file in UTF-8" in complaint(home)


def test_a_reference_to_nothing_is_a_sentence(home: Home) -> None:
    assert "can't be resolved" in complaint(home, "training.model_name=${network.nothing}")


def test_all_mistakes_are_told_at_once(home: Home) -> None:
    write(home, "training:\n  lorra: true\n  num_generations: 1\n")
    message = complaint(home, "eval.items=many", environ={"PRG_GAME": "perhaps"}, network="nowhere")
    assert message.startswith("The configuration has 5 mistakes:")
    for part in (
        "training.lorra",
        "configs/rg-swarm.yaml line 3: training.num_generations must be from 2 to 64, not 1.",
        "eval.items must be a whole number, not 'many'",
        "PRG_GAME must be true or false",
        "'nowhere'",
    ):
        assert part in message


def test_what_a_person_should_know_is_logged(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="rl_swarm.config"):
        load_config(home, environ={})
    assert "Made configs/rg-swarm.yaml from the template" in caplog.text


def test_loading_needs_no_heavy_import() -> None:
    code = "import sys, rgym_exp.config.load, rgym_exp.config.seams as s; print([m for m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for heavy in ("'torch'", "'transformers'", "'hivemind'", "'web3'"):
        assert heavy not in done.stdout

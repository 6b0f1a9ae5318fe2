"""Values that make no sense are named, with what may stand there."""

import re

import pytest

from rgym_exp.config.schema import Config, NetworkConfig
from rgym_exp.config.validate import (
    ABOVE_ZERO,
    ADDRESSES,
    CHOICES,
    MULTIADDRS,
    RANGES,
    URLS,
    is_bootnode,
    problems_of,
    value_at,
)

PEER = "QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ"


def config_with(name: str, value: object) -> Config:
    config = Config(network=NetworkConfig(hub=True))
    *sections, last = name.split(".")
    owner = value_at(config, ".".join(sections)) if sections else config
    setattr(owner, last, value)
    return config


def test_the_defaults_of_the_local_network_make_sense() -> None:
    assert problems_of(Config(network=NetworkConfig(hub=True))) == []


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_lists_what_is_allowed(name: str) -> None:
    (problem,) = problems_of(config_with(name, "nonsense"))
    assert problem == f"{name} must be one of {', '.join(CHOICES[name])}, not 'nonsense'."


@pytest.mark.parametrize("name", RANGES)
def test_a_number_outside_its_range_is_refused(name: str) -> None:
    low, high = RANGES[name]
    outside = [low - 1, float("nan"), float("inf")] + ([high + 1] if high is not None else [])
    for value in outside:
        assert any(problem.startswith(f"{name} must be ") for problem in problems_of(config_with(name, value)))
    assert not any(problem.startswith(f"{name} must") for problem in problems_of(config_with(name, low)))


@pytest.mark.parametrize("name", ABOVE_ZERO)
def test_a_number_that_must_be_above_zero_is_not_zero(name: str) -> None:
    most = ABOVE_ZERO[name]
    for value in [0.0, -1.0, float("nan"), float("inf")] + ([most + 0.1] if most else []):
        assert any(problem.startswith(f"{name} must be above 0") for problem in problems_of(config_with(name, value)))


def test_clipping_above_is_not_tighter_than_below() -> None:
    (problem,) = problems_of(config_with("training.epsilon_high", 0.1))
    assert "must not be below training.epsilon" in problem


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "mps"])
def test_devices(device: str) -> None:
    assert problems_of(config_with("training.device", device)) == []
    assert len(problems_of(config_with("training.device", f"{device}!"))) == 1


def test_a_numbered_gpu_is_refused_with_the_way_to_choose_one() -> None:
    (problem,) = problems_of(config_with("training.device", "cuda:1"))
    assert "CUDA_VISIBLE_DEVICES" in problem


@pytest.mark.parametrize("name", URLS)
def test_an_address_must_be_one_that_can_be_fetched(name: str) -> None:
    for value in ("ftp://example.org", "http://", "example.org", "http://a b"):
        (problem,) = problems_of(config_with(name, value))
        assert problem.startswith(name)


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_contract_address_is_0x_and_40_hex_digits(name: str) -> None:
    assert len(problems_of(config_with(name, "0x1234"))) == 1
    assert problems_of(config_with(name, "0x" + "Ab" * 20)) == []


@pytest.mark.parametrize("name", MULTIADDRS)
def test_multiaddrs_are_checked(name: str) -> None:
    assert problems_of(config_with(name, [f"/ip4/1.2.3.4/tcp/5/p2p/{PEER}"])) == []
    (problem,) = problems_of(config_with(name, ["1.2.3.4:5"]))
    assert re.match(f"{name} must hold multiaddrs", problem)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (f"/ip4/1.2.3.4/tcp/5/p2p/{PEER}", True),
        (f"/ip6/::1/udp/5/quic-v1/p2p/{PEER}", True),
        (f"/dns4/hub.example.org/tcp/38600/p2p/{PEER}", True),
        ("/ip4/1.2.3.4/tcp/5", False),
        (f"/ip4/1.2.3.4/p2p/{PEER}", False),
        (f"/ip4/1.2.3.4/tcp/5/p2p/{PEER}\x1b[2J", False),
        (f"/ip4/${{oc.env:HOME}}/tcp/5/p2p/{PEER}", False),
    ],
)
def test_a_bootnode_can_be_dialled_and_names_its_peer(text: str, good: bool) -> None:
    assert is_bootnode(text) is good


@pytest.mark.parametrize("host", ["localhost", "", "256.1.1.1", "example.org"])
def test_the_listening_address_is_an_ip_address(host: str) -> None:
    (problem,) = problems_of(config_with("communications.host", host))
    assert "communications.host must be auto or an IP address" in problem


@pytest.mark.parametrize("name", ["blockchain.coordinator", "communications.exchange", "tracker", "tasks"])
def test_a_seam_takes_a_known_name_or_a_mapping_with_a_target(name: str) -> None:
    assert problems_of(config_with(name, {"_target_": "my.Class", "x": 1})) == []
    assert "_target_" in problems_of(config_with(name, {"x": 1}))[0]
    assert name in problems_of(config_with(name, 5))[0]


def test_tasks_may_be_any_name_or_path() -> None:
    assert problems_of(config_with("tasks", "my/tasks.yaml")) == []


@pytest.mark.parametrize("kind", ["wallet", "modal"])
def test_a_coordinator_without_a_chain_is_told_what_to_set(kind: str) -> None:
    config = Config()
    config.blockchain.coordinator = kind
    problems = problems_of(config)
    assert len(problems) == 2
    assert "blockchain.rpc_url" in problems[0]
    assert "blockchain.contract_address" in problems[1]


def test_more_slots_than_others_accept_are_refused() -> None:
    (problem,) = problems_of(config_with("training.local_groups", 17))
    assert "is 34, above communications.max_slots (32)" in problem


def test_a_swarm_without_a_name_is_refused() -> None:
    assert "network.swarm_id" in problems_of(config_with("network.swarm_id", " "))[0]


@pytest.mark.parametrize(("key", "most", "value"), [("training.num_generations", 64, 65)])
def test_what_every_receiver_would_drop_is_refused_at_the_start(key: str, most: int, value: int) -> None:
    assert not [each for each in problems_of(config_with(key, most)) if key in each]
    assert key in problems_of(config_with(key, value))[0]


def test_a_swarm_id_has_at_most_as_many_bytes_as_an_announcement_holds() -> None:
    assert not [each for each in problems_of(config_with("network.swarm_id", "é" * 32)) if "swarm_id" in each]
    assert "1 to 64 bytes:" in problems_of(config_with("network.swarm_id", "é" * 33))[0]

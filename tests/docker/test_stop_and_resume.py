"""The first run as the README has it: a swarm of one's own, the bundled model, nothing to download."""

from __future__ import annotations

import re
import time
import urllib.request
from pathlib import Path

from tests.support.containers import Compose, ContainerNode, inspect
from tests.support.processes import wait_for

OWNER = 4321
LOUD = {"swarm-cpu": {"command": ["run", "observe.log_level=DEBUG", "eval.every_rounds=0"]}}


def test_docker_stop_amid_a_round_keeps_what_was_trained_and_a_new_container_goes_on(
    image: str, tmp_path: Path
) -> None:
    with Compose(tmp_path, override=LOUD) as compose:
        home = compose.folder_of("USER_DIR", owner=OWNER)
        compose.folder_of("CACHE_DIR", owner=OWNER)
        node = ContainerNode(compose, "swarm-cpu", home)
        compose("up", "--detach", "swarm-cpu")
        wait_for(node.reports, what="the first round", programs=(node,), seconds=300)
        page = f"http://127.0.0.1:{compose.variables['LOGIN_PORT']}/api/health"
        with urllib.request.urlopen(page, timeout=30) as answer:
            assert b"rl-swarm-login" in answer.read()
        wait_for(lambda: amid_a_round(node), what="the midst of a round", programs=(node,))
        peer_id, played = node.peer_id, len(node.reports())

        began = time.monotonic()
        compose("stop", "swarm-cpu")
        print(f"\nstopped in {time.monotonic() - began:.1f} s")
        assert inspect(node.container, "{{.State.ExitCode}}") == "0"
        assert f"Checkpoint of step {played} " in node.log()

        compose("rm", "--force", "swarm-cpu")
        compose("up", "--detach", "swarm-cpu")
        wait_for(lambda: len(node.reports()) > played, what="a round after the restart", programs=(node,), seconds=300)
        assert node.peer_id == peer_id
        assert f"Resuming after step {played} " in node.log()
        assert node.reports()[-1].step == played + 1


def amid_a_round(node: ContainerNode) -> bool:
    """Whether it generates or trains for a round that it has not finished."""
    phases = re.findall(r"rl_swarm\.observe: round (\d+): (\w+)$", node.log(), re.MULTILINE)
    return bool(phases) and int(phases[-1][0]) > node.reports()[-1].round and phases[-1][1] in ("generate", "train")

"""The hub of the network ``local``: the one that already runs on this machine, or one started in the background."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rgym_exp.base.child import end
from rgym_exp.base.files import last_lines
from rgym_exp.base.ports import free_port, is_free
from rgym_exp.chain.anvil import find_or_install_anvil
from rgym_exp.config.invite import Invite, read_invite
from rgym_exp.config.paths import Home
from rgym_exp.errors import HubError
from rgym_exp.hub.client import hub_invite
from rgym_exp.hub.hub_plan import DEFAULT_P2P_PORT, DEFAULT_PORT

log = logging.getLogger("rl_swarm.hub.local")

START_SECONDS = 60.0
STOP_SECONDS = 20.0
"""A stopping hub needs about a second; the devnet then writes its state."""
LOOK_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class LocalHub:
    """A hub on this machine, and its process when it is ours to stop."""

    invite: Invite
    process: subprocess.Popen[bytes] | None

    def stop(self) -> None:
        """End the hub if we started it; another's hub is left alone. May be called more than once."""
        if self.process is not None:
            end(self.process, seconds=STOP_SECONDS)


def find_or_start_hub(home: Home, *, port: int = DEFAULT_PORT, start_seconds: float = START_SECONDS) -> LocalHub:
    """The hub that answers on this port of loopback, or a new one in the background.

    A hub started here ends with this process, however that ends. Raises AnvilMissing, or a HubError with the reason
    and the log's path, when no hub can be had.
    """
    running = _running(port)
    if running is not None:
        log.info("Using the hub that already runs on port %d.", port)
        return LocalHub(invite=running, process=None)
    # Fetched by us, where a person sees it: a hub in the background would seem to hang on its first start.
    find_or_install_anvil()
    if not is_free("127.0.0.1", port):
        taken, port = port, free_port()
        log.warning("Port %d is taken by another program; this machine's hub takes port %d instead.", taken, port)
    log_file = home.logs / "hub.log"
    process = _start(home, port, log_file)
    try:
        return _wait(process, port, log_file, time.monotonic() + start_seconds)
    except BaseException:
        end(process, seconds=STOP_SECONDS)
        raise


def _running(port: int) -> Invite | None:
    """The invite of a hub on this port; None when nothing, or something else, answers there."""
    try:
        text = hub_invite(f"http://127.0.0.1:{port}")
    except HubError:
        return None
    return read_invite(text)


def _start(home: Home, port: int, log_file: Path) -> subprocess.Popen[bytes]:
    """Start the hub in a session of its own: a Ctrl-C in the terminal is for the node, which still needs its hub."""
    command = [sys.executable, "-m", "rgym_exp.cli", "hub", "--stop-with-parent"]
    command += ["--home", str(home.root), "--port", str(port)]
    if not is_free("127.0.0.1", DEFAULT_P2P_PORT):
        # Only this machine uses this hub and learns the port from it, so any port will do.
        command += ["--p2p-port", str(free_port())]
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=home.root, start_new_session=True
        )


def _wait(process: subprocess.Popen[bytes], port: int, log_file: Path, deadline: float) -> LocalHub:
    """Wait until the hub answers; raises a HubError when it ends or takes too long."""
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        invite = _running(port)
        if invite is not None:
            # Two nodes may start at once: the second one's hub finds the port taken, and the first one's answers.
            return LocalHub(invite=invite, process=None if ended else process)
        if ended:
            raise HubError(
                f"The hub of this machine's own swarm could not start: {_reason(log_file)} (log: {log_file})"
            )
        time.sleep(LOOK_SECONDS)
    raise HubError(
        f"The hub of this machine's own swarm did not answer on port {port} in time; the last line of its log is: "
        f"{_reason(log_file)} (log: {log_file})"
    )


def _reason(log_file: Path) -> str:
    """What the hub said last: its own sentence if there is one, else the last line."""
    lines = last_lines(log_file)
    prefix = "rl-swarm hub: "
    sentences = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    return (sentences or lines or ["it said nothing."])[-1]

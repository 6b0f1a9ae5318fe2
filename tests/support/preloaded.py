"""``rl-swarm`` processes as copies (fork) of one that has loaded the libraries already.

Loading them costs a node seven seconds of a processor, and tests of swarms start dozens of nodes. A copy runs the
command from its first line on, in a session, folder and environment of its own. What it doesn't show is the loading
itself: tests of several processes, of the model hub and of the first run start theirs the usual way.

Run as a program, with a socket's number as its argument, this is the process that is copied.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

LOADING_SECONDS = 240.0
"""How long the first copy may be waited for, on a busy machine."""


class ProcessCopy:
    """A copy that runs; what of ``subprocess.Popen`` the tests need."""

    def __init__(self, pid: int, status: int, command: str) -> None:
        """``status``: the pipe in which its exit status will be."""
        self.pid = pid
        self._status, self._command = status, command
        self._returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status (minus the signal's number where one ended it); None while it runs."""
        if self._returncode is None and select.select([self._status], [], [], 0)[0]:
            said = os.read(self._status, 32)
            os.close(self._status)
            # Nothing: the process that is copied has gone, and took its copies along.
            self._returncode = int(said) if said else -signal.SIGKILL
        return self._returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises subprocess.TimeoutExpired."""
        if self._returncode is None:
            select.select([self._status], [], [], timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(self._command, timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Original:
    """The process that is copied; it ends with the one that made this."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """``environ``: what libraries may read while they are loaded."""
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "tests.support.preloaded", str(theirs.fileno())]
        self._process = subprocess.Popen(command, env=dict(environ), pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        self._socket.settimeout(LOADING_SECONDS)

    def start(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        output: int,
        environ: Mapping[str, str],
        largest_file_bytes: int | None,
    ) -> ProcessCopy:
        """A copy that runs ``rl-swarm ARGUMENT...`` in the folder, with its output in the file ``output``."""
        status, theirs = os.pipe()
        request = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environ": dict(environ),
            "largest_file_bytes": largest_file_bytes,
        }
        body = json.dumps(request).encode()
        try:
            self._socket.sendall(len(body).to_bytes(4, "big"))
            socket.send_fds(self._socket, [body[:1]], [output, theirs])
            self._socket.sendall(body[1:])
            pid = int.from_bytes(_exactly(self._socket, 4), "big")
        except BaseException:  # a test's time-out among them: the next answer might be this one's
            self._socket.close()
            os.close(status)
            original.cache_clear()
            raise
        finally:
            os.close(theirs)
        return ProcessCopy(pid, status, " ".join(arguments))


@functools.cache
def original() -> Original:
    """The one of this test process."""
    from tests.support.processes import process_environ

    return Original(process_environ({}))


# ------------------------------------------------------------------------------------ in the process that is copied


def load() -> None:
    """What a node or a hub loads before it is at work."""
    from rgym_exp.commands.run import _prepare_libraries

    _prepare_libraries()
    import rgym_exp.commands.hub
    import rgym_exp.hub.hub
    import rgym_exp.node.node  # noqa: F401

    # Collections in a copy would otherwise write to, and so take, every page of memory that all could share.
    gc.collect()
    gc.freeze()


def serve(requests: socket.socket) -> dict[str, Any]:
    """Make a copy for each request, and tell how each ended. Returns in the copies alone, what was asked for."""
    running: dict[int, int] = {}
    wake, woken = socket.socketpair()
    wake.setblocking(False)
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    while True:
        ready, _, _ = select.select([requests, wake], [], [])
        if wake in ready:
            wake.recv(1024)
            _tell_ends(running)
        if requests not in ready:
            continue
        request, output, status = _receive(requests)
        if request is None:
            for pid in running:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            sys.exit(0)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _become(request, output)
            for number in (*running.values(), output, status, requests.detach(), wake.detach(), woken.detach()):
                os.close(number)
            return request
        os.close(output)
        running[pid] = status
        requests.sendall(pid.to_bytes(4, "big"))


def _tell_ends(running: dict[int, int]) -> None:
    for pid in list(running):
        ended, how = os.waitpid(pid, os.WNOHANG)
        if ended:
            status = running.pop(pid)
            with suppress(BrokenPipeError):
                os.write(status, str(os.waitstatus_to_exitcode(how)).encode())
            os.close(status)


def _become(request: dict[str, Any], output: int) -> None:
    """What starting a program does to a process."""
    os.setsid()
    os.chdir(request["folder"])
    sys.path.insert(0, request["folder"])  # as `python -m` does
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv = ["rl-swarm", *request["arguments"]]
    largest = request["largest_file_bytes"]
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))


def _receive(requests: socket.socket) -> tuple[dict[str, Any] | None, int, int]:
    """The next request with its two files; None when the other side has gone."""
    try:
        size = int.from_bytes(_exactly(requests, 4), "big")
        first, (output, status), _, _ = socket.recv_fds(requests, 1, 2)
        return json.loads(first + _exactly(requests, size - 1)), output, status
    except (EOFError, ConnectionError):
        return None, -1, -1


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            raise EOFError("the other side has gone")
        found += piece
    return found


if __name__ == "__main__":
    load()
    serve(socket.socket(fileno=int(sys.argv[1])))
    from rgym_exp.cli import main

    sys.exit(main())

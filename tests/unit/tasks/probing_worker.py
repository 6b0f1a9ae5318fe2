"""The scoring worker as it is, with one dataset whose scorer tries what its answer names (``test_what_it_refuses``)."""

import ctypes
import os
import pickle
import select
import socket
import subprocess
import sys
from pathlib import Path
from types import FunctionType

sys.path.insert(0, str(Path(__file__).parents[3]))

import reasoning_gym.factory  # noqa: E402

from rgym_exp.tasks import scoring_worker  # noqa: E402

CODE = compile("1 + 1", "probe", "eval")
ATTEMPTS = {
    "run code": lambda: exec(CODE),
    "make a function of code": lambda: FunctionType(CODE, {}),
    "read a file": lambda: open("/etc/passwd"),  # noqa: SIM115
    "write a file": lambda: open("made", "w"),  # noqa: SIM115
    "remove a file": lambda: os.remove("made"),
    "import": lambda: __import__("wave"),
    "start a program": lambda: subprocess.run(["true"]),
    "call the shell": lambda: os.system("true"),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9)),
    "load a library": lambda: ctypes.CDLL(None),
    "unpickle": lambda: pickle.loads(b"cos\ngetpid\n(tR."),
    "open a descriptor": lambda: select.epoll(),
    "nothing": lambda: None,
}


class Probe:
    """Scores 1 when the attempt succeeds."""

    def __init__(self, name: str, **_: object) -> None:
        """As reasoning-gym's factory is called."""

    def score_answer(self, answer: str, entry: object) -> float:
        ATTEMPTS[answer]()
        return 1.0


if __name__ == "__main__":
    reasoning_gym.factory.create_dataset = Probe
    sys.exit(scoring_worker.main())

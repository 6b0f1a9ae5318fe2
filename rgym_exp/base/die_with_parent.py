"""Start another program that ends when the process that started it does, however that one ends (even by SIGKILL).

Run by path, with the parent's process id and the command: ``python die_with_parent.py 4711 anvil --port 0``. It becomes
that command, so nothing of Python stays in memory. A program of its own, because code between fork and exec in a
process with threads can hang.

Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere the program is started all the same. The signal is SIGTERM, so that
the program can save its state. The kernel sends it when the *thread* that started us ends: that thread must stay.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it ended before we could ask to be told
            sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()

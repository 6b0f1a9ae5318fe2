"""The process that trackio runs in: takes lines of JSON until its input ends (``trackio_process.py``)."""

from __future__ import annotations

import json
import os
import sys


def main() -> int:
    """The first line says what to start, and is answered with "ready" or the reason why not; the others are steps."""
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # What trackio prints goes where its warnings go.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    begin = json.loads(sys.stdin.readline())
    try:
        import trackio

        run = trackio.init(
            begin["project"],
            name=begin["run_name"],
            config=begin["config"],
            embed=False,
            # The node reports its own memory and speed.
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
    except Exception as error:  # Whatever it was, the node is waiting for a word.
        print(" ".join(f"{type(error).__name__}: {error}".split()), file=answer, flush=True)
        return 1
    print("ready", file=answer, flush=True)
    for line in sys.stdin:
        step = json.loads(line)
        run.log(step["numbers"], step=step["step"])
    trackio.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())

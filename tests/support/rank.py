"""A helper rank as a process: ``python -m tests.support.rank PORT RANK SIZE`` serves whoever keeps the store there."""

from __future__ import annotations

import sys

from torch.distributed import TCPStore

from rgym_exp.training.help import Helper
from rgym_exp.training.ranks import Ranks


def main(port: int, rank: int, size: int) -> None:
    """Join, and serve until rank 0 says that it is over."""
    Helper(Ranks(TCPStore("127.0.0.1", port, is_master=False), rank=rank, size=size)).serve()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

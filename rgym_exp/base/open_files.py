"""How many files and sockets this process may have open."""

from __future__ import annotations

import sys

MOST = 1_048_576
"""What is asked for where the system names no limit of its own."""


def raise_open_files_limit() -> int | None:
    """Use what the system allows this user (the soft limit is often 1024, or 256); children inherit it.

    Returns the limit that holds now; None where the system has no such limit.
    """
    if sys.platform == "win32":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else hard
    # macOS names no hard limit and yet refuses large ones.
    for limit in (wanted, 65_536, 10_240):
        if soft != resource.RLIM_INFINITY and soft < limit <= wanted:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            except (OSError, ValueError):
                continue
            return limit
    return None if soft == resource.RLIM_INFINITY else soft

"""Failures of the machine that a person can mend (a full disk, a folder of somebody else's), as sentences."""

from __future__ import annotations

import errno

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Make room, and start again."),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Allow more open files (ulimit -n), and start again."),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EEXIST),
        "Where a folder belongs is a file: move it, or choose another folder with --home.",
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "Mend its owner and permissions, or choose another folder with --home.",
    ),
    errno.EISDIR: "Where a file belongs is a folder: move it.",
    errno.ENAMETOOLONG: "Choose a folder with a shorter path, with --home.",
}


def sentence_of(error: OSError) -> str | None:
    """What happened to which file and what to do; None where no file, disk or permission is to blame."""
    if (remedy := _REMEDIES.get(error.errno or 0)) is None:
        return None
    # A file that is renamed at the end is known by its last name.
    file = error.filename2 or error.filename
    return f"{error.strerror}. {remedy}" if file is None else f"{file}: {error.strerror}. {remedy}"

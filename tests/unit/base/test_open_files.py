"""The limit on open files is raised as far as the system lets us."""

from __future__ import annotations

import subprocess
import sys

import pytest

RAISES = """
import resource
from rgym_exp.base.open_files import raise_open_files_limit
resource.setrlimit(resource.RLIMIT_NOFILE, {limits})
told = raise_open_files_limit()
print(told, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(("limits", "then"), [("(256, 900)", "900 900 900"), ("(256, 256)", "256 256 256")])
def test_the_soft_limit_becomes_the_hard_one(limits: str, then: str) -> None:
    program = RAISES.format(limits=limits)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == then.split()

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.processes import HubProgram


@pytest.fixture
def start_hub(tmp_path: Path) -> Iterator[Callable[..., HubProgram]]:
    """Starts hubs, always from the same home; whatever still runs at the end is stopped."""
    with ExitStack() as running:
        yield lambda *arguments: running.enter_context(HubProgram(tmp_path / "host", *arguments))

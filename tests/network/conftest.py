"""Networks of namespaces, and swarms of light processes in them; skipped, with the reason, where there can be none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.light_swarm import LightSwarm
from tests.support.network_lab import NetworkLab, missing

MakeSwarm = Callable[..., LightSwarm]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One reason for all: a machine has networks or has none."""
    here = [item for item in items if Path(item.path).parent == Path(__file__).parent]
    if here and (reason := missing()):
        for item in here:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def make_swarm(tmp_path: Path) -> Iterator[MakeSwarm]:
    """``make_swarm(homes=2, link=..., ...)``: a lab, and a bootnode at each of its places in public."""
    with ExitStack() as stack:

        def make(**options: Any) -> LightSwarm:
            lab = stack.enter_context(NetworkLab(tmp_path, **options))
            swarm = LightSwarm(lab, tmp_path)
            for number in range(len(lab.publics)):
                swarm.start_bootnode(number)
            return swarm

        yield make

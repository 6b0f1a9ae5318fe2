from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rgym_exp.base.ports import free_port
from tests.unit.hub.hub_process import HubProcess


@pytest.fixture
def start_hub(tmp_path: Path) -> Iterator[Callable[..., HubProcess]]:
    """Starts hubs; the ports are free ones unless given. Whatever still runs at the end is stopped."""
    started: list[HubProcess] = []

    def start(*arguments: str, home: Path | None = None, port: int | None = None, own_ports: bool = True) -> HubProcess:
        ports = ["--port", str(port or free_port()), "--p2p-port", str(free_port())] if own_ports else []
        hub = HubProcess(home or tmp_path / "host", [*ports, *arguments])
        started.append(hub)
        return hub

    yield start
    for hub in started:
        if hub.process.poll() is None:
            hub.stop()
        assert hub.process.stdin is not None
        hub.process.stdin.close()

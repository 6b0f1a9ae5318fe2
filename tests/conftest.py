"""What every test may ask for."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rgym_exp.base.ports import free_port
from rgym_exp.chain import anvil_process
from tests.support.tiny_model import save_tiny_model


def pytest_configure() -> None:
    """Programs that tests start heed a hangup, also where the tests were started with nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with processes of their own take minutes: they begin first, so that no worker is left alone with one.

    Those with networks of their own play rounds by the clock: they come next, when less else is at work.
    """
    first = ("integration", "network")
    items.sort(key=lambda item: next((place for place, mark in enumerate(first) if item.get_closest_marker(mark)), 2))


@pytest.fixture(scope="session", autouse=True)
def no_unasked_renewals() -> Iterator[None]:
    """Devnets that many tests share grow, and a renewal in the middle of a test would cost it a request."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anvil_process, "RENEW_AT_BYTES", 2**60)
        patch.setattr(anvil_process, "RENEW_AT_ONCE_BYTES", 2**60)
        yield


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real, very small model and its tokenizer; read it, don't write to it."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that send every HTTP request to a proxy that isn't there, with no exception for anybody."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")

"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiny_model import save_tiny_model


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real, very small model and its tokenizer; read it, don't write to it."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")

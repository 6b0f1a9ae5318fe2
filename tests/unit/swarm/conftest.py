"""Identities for the tests of the swarm package; making RSA keys is slow, so they are made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from rgym_exp.swarm.identity import Identity, load_or_create_identity


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> list[Identity]:
    """Four peers' identities."""
    folder: Path = tmp_path_factory.mktemp("identities")
    return [load_or_create_identity(folder / f"{index}.pem") for index in range(4)]
